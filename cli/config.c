/* weir config: every setting, its value, and who said so. */
#include "base/json.h"
#include "base/text.h"
#include "cli/options.h"
#include <string.h>

static void source_text(const wr_settings *s, wr_setting i, char to[WR_PATH_BYTES_MAX + 32])
{
    char variable[64];
    switch (s->source[i]) {
    case WR_FROM_FLAG: snprintf(to, WR_PATH_BYTES_MAX + 32, "--%s", wr_setting_flag(i)); break;
    case WR_FROM_VARIABLE:
        wr_setting_variable(i, variable);
        snprintf(to, WR_PATH_BYTES_MAX + 32, "$%s", variable);
        break;
    case WR_FROM_FILE: snprintf(to, WR_PATH_BYTES_MAX + 32, "%s:%u", s->file, s->line[i]); break;
    case WR_FROM_CLUSTER: snprintf(to, WR_PATH_BYTES_MAX + 32, "%s:%u", s->cluster, s->line[i]); break;
    default: snprintf(to, WR_PATH_BYTES_MAX + 32, "default"); break;
    }
}

static void json_row(wr_json *j, const wr_settings *s, wr_setting i)
{
    char source[WR_PATH_BYTES_MAX + 32], variable[64];
    source_text(s, i, source);
    wr_setting_variable(i, variable);
    const char *value = wr_setting_text(s, i);
    wr_json_object(j, NULL);
    wr_json_str(j, "key", wr_setting_key(i));
    wr_json_str(j, "value", value[0] != 0 ? value : NULL);
    wr_json_str(j, "source", source);
    wr_json_str(j, "variable", variable);
    wr_json_str(j, "flag", wr_setting_flag(i));
    wr_json_str(j, "help", wr_setting_help(i));
    wr_json_end(j);
}

static void text_row(const wr_settings *s, wr_setting i)
{
    char source[WR_PATH_BYTES_MAX + 32];
    source_text(s, i, source);
    const char *value = wr_setting_text(s, i);
    printf("%-20s %-24s %s\n", wr_setting_key(i), value[0] != 0 ? value : "-", source);
}

static int one(const wr_settings *s, const char *key, bool json)
{
    int i = wr_setting_find(key);
    if (i < 0) {
        wr_errinfo  info = {0};
        const char *keys[WR_SETTINGS];
        for (int k = 0; k < WR_SETTINGS; k++) keys[k] = wr_setting_key((wr_setting)k);
        const char *near = wr_did_you_mean(key, keys, WR_SETTINGS);
        wr_fail(&info, WR_USAGE, "unknown key: %s; %s%s", key, near != NULL ? "did you mean " : "",
                near != NULL ? near : "`weir config` lists them");
        return wr_cli_fail(&info);
    }
    if (json) {
        wr_json j;
        wr_json_init_file(&j, stdout);
        json_row(&j, s, (wr_setting)i);
    } else {
        printf("%s\n", wr_setting_text(s, (wr_setting)i));
    }
    return WR_EXIT_OK;
}

int wr_cli_config(const wr_options *options)
{
    const wr_settings *s = &options->settings;
    if (options->file != NULL) return one(s, options->file, options->json);
    if (!options->json) {
        printf("%-20s %-24s %s\n", "KEY", "VALUE", "FROM");
        for (int i = 0; i < WR_SETTINGS; i++) text_row(s, (wr_setting)i);
        return WR_EXIT_OK;
    }
    wr_json j;
    wr_json_init_file(&j, stdout);
    wr_json_array(&j, NULL);
    for (int i = 0; i < WR_SETTINGS; i++) json_row(&j, s, (wr_setting)i);
    wr_json_end(&j);
    return WR_EXIT_OK;
}
