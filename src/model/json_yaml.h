/* json_yaml.h - the expanded layers between model.json and the page's language. */
#ifndef HONE_MODEL_JSON_YAML_H
#define HONE_MODEL_JSON_YAML_H

#include "core/json.h"

#include "model/layers.h"

/* A list of layers with every argument written out, in the page's language. NULL: memory exhausted. */
json_t *hone_layers_to_json(const hone_layer_list *list);
/* A page {key: root[key]} as a YAML tree whose nodes name `file`. NULL: memory exhausted. Freed by
 * hone_json_yaml_free alone (its nodes don't come from a YAML reader). */
hone_yaml *hone_json_to_yaml(const char *file, const json_t *root, const char *key);
void hone_json_yaml_free(hone_yaml *n);

#endif
