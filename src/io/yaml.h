/* yaml.h - one YAML document as a JSON tree (YAML 1.2 core schema), through libyaml.  Refuses what a settings file does not need:
 * tags, aliases, several documents.  Never writes YAML. */
#ifndef RY_IO_YAML_H
#define RY_IO_YAML_H
#include "io/json.h"

/* what: the file's name for messages. EFORMAT; EUNSUPPORTED where Rusty was built without libyaml. An empty text is null. */
ry_status ry_yaml_parse(ry_json **out, const char *text, size_t n, const char *what);

/* A settings or configuration file: JSON where it is named .json or begins with '{', else YAML. */
ry_status ry_config_read(ry_json **out, const char *path);
#endif
