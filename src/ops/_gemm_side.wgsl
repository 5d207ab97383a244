// _gemm_side.wgsl - `#include gemm_side`: what the loops over SIDE in _gemm.wgsl call the left factor (0) and the right one (1).
#if SIDE == 0
#let X a
#let S ${A}
#let KIND ${A_KIND}
#let TILE ${BM}
#let LINE ${A_LINE}
#let FROM row_at
#let EDGE ${EDGE_M}
#let END m_end
#let STRIDE ${A_R}
#let STEP ${A_K}
#let QUAD ${A_QUAD}
#let LOADS ${A_LOADS}
#else
#let X b
#let S ${B}
#let KIND ${B_KIND}
#let TILE ${BN}
#let LINE ${B_LINE}
#let FROM col_at
#let EDGE ${EDGE_N}
#let END ${N}
#let STRIDE ${B_R}
#let STEP ${B_K}
#let QUAD ${B_QUAD}
#let LOADS ${B_LOADS}
#end
