//! burn_peer - the peer of `rusty bench matmul`, `rusty bench ops` and `rusty bench train` on a GPU: Burn on wgpu, f32.
//!
//! Build (Rust 1.95; default: SPIR-V through Vulkan; `--no-default-features`: WGSL):
//!
//!     cargo build --release --target-dir /tmp/burn        # /tmp/burn/release/burn_peer
//!
//! Run:
//!
//!     burn_peer matmul [--sizes 512,1024,2048,4096]
//!     burn_peer ops    [--rows 65536] [--cols 2048]
//!     burn_peer train  [--layers 12] [--width 768] [--hidden 2048] [--heads 12] [--vocab 50257] [--seq 1024] [--batch 4] [--steps 10]
//!     common: [--warm 1] [--runs 9]; several parts may stand in one line
//!
//! Prints JSON lines. The first call or step stands apart: it holds compilation of kernels and Burn's autotuning. Then warm-up, then
//! medians of runs; a run is many calls and one `Device::sync`. A run's products are all kept until then. After each call of another
//! operator `Device::flush` hands it to the GPU, so fusion cannot merge calls that are measured apart; an output lives past its flush,
//! so its write stays. GB/s counts each operand read once and each result written once. `max_err` of a product is the largest |c - exact| / (|row| |column|) of nine entries: f32 gives about
//! 1e-8, TF32 or f16 1e-5.
//!
//! The model is the Llama of bench/shapes/gpt2_124m.yaml: RMSNorm, rope on halves, gated MLP with SiLU, no bias, head tied to the
//! embedding, AdamW, random tokens. Attention is products and softmax, as in Burn's own MultiHeadAttention: its fused attention has
//! no gradient in this version. A step is forward, backward and AdamW without clipping; its loss stays on the GPU.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Bool, Device, DeviceKind, Distribution, Int, Tensor, TensorData};
use std::collections::HashMap;
use std::time::Instant;

const PEER: &str = if cfg!(feature = "spirv") { "burn 0.22.1 wgpu spirv" } else { "burn 0.22.1 wgpu wgsl" };

/// The numbers of the command line, by name.
struct Opts(HashMap<&'static str, f64>);

impl Opts {
    fn n(&self, name: &str) -> usize {
        self.0[name] as usize
    }
}

fn usage(what: &str) -> ! {
    eprintln!("burn_peer: {what}: want matmul, ops or train, then options (the head of main.rs lists them)");
    std::process::exit(2)
}

fn options() -> (Vec<String>, Vec<usize>, Opts) {
    let mut o = HashMap::from([("--rows", 65536.0), ("--cols", 2048.0), ("--layers", 12.0), ("--width", 768.0), ("--hidden", 2048.0), ("--heads", 12.0)]);
    o.extend([("--vocab", 50257.0), ("--seq", 1024.0), ("--batch", 4.0), ("--steps", 10.0), ("--warm", 1.0), ("--runs", 9.0)]);
    let (mut parts, mut sizes) = (vec![], vec![512, 1024, 2048, 4096]);
    let mut args = std::env::args().skip(1);
    while let Some(a) = args.next() {
        if ["matmul", "ops", "train"].contains(&a.as_str()) {
            parts.push(a);
            continue;
        }
        let v = args.next().unwrap_or_else(|| usage(&a));
        if a == "--sizes" {
            sizes = v.split(',').map(|x| x.parse().unwrap_or_else(|_| usage(&a))).collect();
        } else {
            *o.get_mut(a.as_str()).unwrap_or_else(|| usage(&a)) = v.parse().unwrap_or_else(|_| usage(&a));
        }
    }
    if parts.is_empty() {
        usage("no part");
    }
    (parts, sizes, Opts(o))
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn sync(d: &Device) {
    d.sync().expect("sync");
}

/// Milliseconds of the first call, and of one call after warm-up (median of runs). apart: each call is handed over alone.
fn measure<T>(d: &Device, o: &Opts, apart: bool, mut f: impl FnMut() -> T) -> (f64, f64) {
    let mut run = |calls: usize| {
        sync(d);
        let s = Instant::now();
        let mut kept = vec![];
        for _ in 0..calls {
            if apart {
                kept.clear();
            }
            kept.push(f());
            if apart {
                d.flush().expect("flush");
            }
        }
        sync(d);
        ms(s) / calls as f64
    };
    let first = run(1);
    let (warm, mut one) = (Instant::now(), f64::MAX);
    while one == f64::MAX || ms(warm) < o.0["--warm"] * 1e3 {
        one = one.min(run(4));
    }
    let calls = ((50.0 / one) as usize).clamp(1, 200);
    (first, median((0..o.n("--runs").max(1)).map(|_| run(calls)).collect()))
}

fn floats<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    t.into_data().as_slice::<f32>().expect("f32").to_vec()
}

fn matmul(d: &Device, o: &Opts, sizes: &[usize]) {
    let length = |v: &[f32]| v.iter().map(|a| (*a as f64).powi(2)).sum::<f64>().sqrt();
    for &n in sizes {
        let x = Tensor::<2>::random([n, n], Distribution::Normal(0.0, 1.0), d);
        let y = Tensor::<2>::random([n, n], Distribution::Normal(0.0, 1.0), d);
        let (first, ms) = measure(d, o, false, || x.clone().matmul(y.clone()));
        let z = x.clone().matmul(y.clone());
        sync(d);
        let mut err = 0f64;
        for i in [0, n / 2 + 1, n - 1] {
            let row = floats(x.clone().slice([i..i + 1, 0..n]));
            for j in [0, n / 3, n - 1] {
                let column = floats(y.clone().slice([0..n, j..j + 1]));
                let got = floats(z.clone().slice([i..i + 1, j..j + 1]))[0] as f64;
                let exact: f64 = row.iter().zip(&column).map(|(a, b)| *a as f64 * *b as f64).sum();
                err = err.max((got - exact).abs() / (length(&row) * length(&column)));
            }
        }
        let tflops = 2.0 * (n as f64).powi(3) / ms * 1e-9;
        println!("{{\"peer\":\"{PEER}\",\"part\":\"matmul\",\"n\":{n},\"ms\":{ms:.5},\"tflops\":{tflops:.3},\"first_ms\":{first:.1},\"max_err\":{err:.2e}}}");
    }
}

fn ops(d: &Device, o: &Opts) {
    let (r, c) = (o.n("--rows"), o.n("--cols"));
    let x = Tensor::<2>::random([r, c], Distribution::Normal(0.0, 1.0), d);
    let y = Tensor::<2>::random([r, c], Distribution::Normal(0.0, 1.0), d);
    let norm = RmsNormConfig::new(c).init(d);
    let say = |name: &str, operands: usize, (first, ms): (f64, f64)| {
        let gbs = (operands * r * c * 4) as f64 / ms * 1e-6;
        println!("{{\"peer\":\"{PEER}\",\"part\":\"ops\",\"op\":\"{name}\",\"shape\":\"{r}x{c}\",\"ms\":{ms:.5},\"gb_s\":{gbs:.1},\"first_ms\":{first:.1}}}");
    };
    say("add", 3, measure(d, o, true, || x.clone() + y.clone()));
    say("silu", 2, measure(d, o, true, || silu(x.clone())));
    say("softmax", 2, measure(d, o, true, || softmax(x.clone(), 1)));
    say("rms_norm", 2, measure(d, o, true, || norm.forward(x.clone())));
}

/// What every layer shares: cosines and sines of the positions, [tokens, head], and the mask of later tokens, [1, 1, tokens, tokens].
#[derive(Clone)]
struct Shared {
    cos: Tensor<4>,
    sin: Tensor<4>,
    mask: Tensor<4, Bool>,
}

impl Shared {
    fn new(tokens: usize, head: usize, d: &Device) -> Self {
        let angle = |i: usize| (i / head) as f32 * 10000f32.powf(-2.0 * (i % head % (head / 2)) as f32 / head as f32);
        let table = |f: fn(f32) -> f32| {
            let v: Vec<f32> = (0..tokens * head).map(|i| f(angle(i))).collect();
            Tensor::<1>::from_data(TensorData::new(v, [tokens * head]), d).reshape([1, 1, tokens, head])
        };
        let mask = Tensor::<2, Bool>::tril_mask([tokens, tokens], 0, d).reshape([1, 1, tokens, tokens]);
        Self { cos: table(f32::cos), sin: table(f32::sin), mask }
    }

    fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, t, e] = x.dims();
        let (low, high) = (x.clone().slice([0..b, 0..h, 0..t, 0..e / 2]), x.clone().slice([0..b, 0..h, 0..t, e / 2..e]));
        x * self.cos.clone() + Tensor::cat(vec![high.neg(), low], 3) * self.sin.clone()
    }
}

fn linear(from: usize, to: usize, d: &Device) -> Linear {
    LinearConfig::new(from, to).with_bias(false).with_initializer(Initializer::Normal { mean: 0.0, std: 0.02 }).init(d)
}

#[derive(Module, Debug)]
struct Block {
    n1: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    n2: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    heads: usize,
}

impl Block {
    fn new(c: usize, hidden: usize, heads: usize, d: &Device) -> Self {
        Self {
            n1: RmsNormConfig::new(c).init(d),
            q: linear(c, c, d),
            k: linear(c, c, d),
            v: linear(c, c, d),
            o: linear(c, c, d),
            n2: RmsNormConfig::new(c).init(d),
            gate: linear(c, hidden, d),
            up: linear(c, hidden, d),
            down: linear(hidden, c, d),
            heads,
        }
    }

    fn forward(&self, x: Tensor<3>, s: &Shared) -> Tensor<3> {
        let [b, t, c] = x.dims();
        let e = c / self.heads;
        let y = self.n1.forward(x.clone());
        let split = |l: &Linear| l.forward(y.clone()).reshape([b, t, self.heads, e]).swap_dims(1, 2);
        let (q, k, v) = (s.turn(split(&self.q)), s.turn(split(&self.k)), split(&self.v));
        let scores = q.matmul(k.transpose()).mul_scalar(1.0 / (e as f32).sqrt()).mask_fill(s.mask.clone(), -1.0e4);
        let a = softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([b, t, c]);
        let x = x + self.o.forward(a);
        let y = self.n2.forward(x.clone());
        x + self.down.forward(silu(self.gate.forward(y.clone())) * self.up.forward(y))
    }
}

#[derive(Module, Debug)]
struct Llama {
    embed: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
}

impl Llama {
    fn new(o: &Opts, d: &Device) -> Self {
        let c = o.n("--width");
        let init = Initializer::Normal { mean: 0.0, std: 0.02 };
        Self {
            embed: EmbeddingConfig::new(o.n("--vocab"), c).with_initializer(init).init(d),
            blocks: (0..o.n("--layers")).map(|_| Block::new(c, o.n("--hidden"), o.n("--heads"), d)).collect(),
            norm: RmsNormConfig::new(c).init(d),
        }
    }

    fn forward(&self, ids: Tensor<2, Int>, s: &Shared) -> Tensor<2> {
        let x = self.blocks.iter().fold(self.embed.forward(ids), |x, block| block.forward(x, s));
        let [b, t, c] = x.dims();
        self.norm.forward(x).reshape([b * t, c]).matmul(self.embed.weight.val().transpose())
    }
}

fn train(plain: &Device, o: &Opts) {
    let d = plain.clone().autodiff();
    let (b, t, steps) = (o.n("--batch"), o.n("--seq"), o.n("--steps").max(1));
    let mut state = 1u64;
    let mut ids = || {
        let next = |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % o.n("--vocab") as u64) as i32
        };
        Tensor::<1, Int>::from_data(TensorData::new((0..b * t).map(next).collect::<Vec<i32>>(), [b * t]), &d)
    };
    let batches: Vec<_> = (0..4).map(|_| (ids().reshape([b, t]), ids())).collect();
    let shared = Shared::new(t, o.n("--width") / o.n("--heads"), &d);
    let loss_fn = CrossEntropyLossConfig::new().init(&d);
    let mut optim = AdamWConfig::new().with_beta_2(0.95).with_epsilon(1e-8).with_weight_decay(0.1).init();
    let mut model = Some(Llama::new(o, &d));
    let params = model.as_ref().map_or(0, Module::num_params);
    let mut at = 0;
    let mut step = || -> Tensor<1> {
        let m = model.take().expect("the model");
        let (x, y) = batches[at % batches.len()].clone();
        at += 1;
        let loss = loss_fn.forward(m.forward(x, &shared), y);
        let grads = GradientsParams::from_grads(loss.backward(), &m);
        model = Some(optim.step(3e-4, m, grads));
        loss.detach()
    };
    let timed = |step: &mut dyn FnMut() -> Tensor<1>| {
        sync(&d);
        let s = Instant::now();
        let loss = step();
        sync(&d);
        (ms(s), loss)
    };
    for i in 1..=3 {
        let (ms, loss) = timed(&mut step);
        println!("{{\"peer\":\"{PEER}\",\"part\":\"train\",\"step\":{i},\"ms\":{ms:.1},\"loss\":{:.4}}}", loss.into_scalar::<f32>());
    }
    let warm = Instant::now();
    while ms(warm) < o.0["--warm"] * 1e3 {
        timed(&mut step);
    }
    let one = median((0..steps).map(|_| timed(&mut step).0).collect());
    let s = Instant::now();
    let mut loss = None;
    for _ in 0..steps {
        loss = Some(step());
        d.flush().expect("flush");
    }
    sync(&d);
    let (row, tokens) = (ms(s) / steps as f64, (b * t) as f64 * 1e3);
    let loss = loss.expect("a step").into_scalar::<f32>();
    println!(
        "{{\"peer\":\"{PEER}\",\"part\":\"train\",\"params\":{params},\"batch\":{b},\"seq\":{t},\"step_ms\":{one:.3},\"tokens_s\":{:.0},\"tokens_s_in_a_row\":{:.0},\"loss\":{loss:.4}}}",
        tokens / one,
        tokens / row
    );
}

fn main() {
    let (parts, sizes, o) = options();
    let d = Device::wgpu(DeviceKind::DefaultDevice);
    d.seed(1);
    sync(&d);
    println!("{{\"peer\":\"{PEER}\",\"adapter\":\"{}\"}}", d.identity().map_or_else(|| "unknown".into(), |i| i.name));
    for part in &parts {
        match part.as_str() {
            "matmul" => matmul(&d, &o, &sizes),
            "ops" => ops(&d, &o),
            _ => train(&d, &o),
        }
    }
}
