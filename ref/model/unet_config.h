/* unet_config.h - reads a UNet's config.json; kept apart from the network it describes. */
#ifndef MOLE_MODEL_UNET_CONFIG_H
#define MOLE_MODEL_UNET_CONFIG_H

#include "model/unet.h"

/* Fill *config from FOLDER/config.json. Keys that are absent take diffusers' own defaults, each named
 * where it is read. Returns 0, or -1 and err. */
int unet_config_read(unet_config_t *config, const char *folder, err_t *err);

#endif
