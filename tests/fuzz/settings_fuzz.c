/* A configuration file. What is taken is a value of its setting, whole and inside the text; what is refused is said. */
#include "cli/settings.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    wr_settings *s = calloc(1, sizeof *s);
    wr_errinfo   info = {0};
    char        *text = own_text(bytes, size);
    must(s != NULL);
    size_t n = strlen(text);
    wr_err err = wr_settings_parse(s, text, "fuzz.conf", WR_FROM_FILE, &info);
    must(err == info.code && (err == WR_OK || (err == WR_CONFIG && info.text[0] != 0)));
    for (int i = 0; i < WR_SETTINGS; i++) {
        wr_setting which = (wr_setting)i;
        if (s->value[i] == NULL) continue;
        must(s->value[i] >= text && s->value[i] + strlen(s->value[i]) <= text + n && s->line[i] > 0);
        must(wr_setting_given(s, which) && wr_setting_check(which, s->value[i], "again", NULL) == WR_OK);
    }
    /* Whatever was taken can be read as what it is. */
    must(wr_setting_ms(s, WR_SET_LEASE) > 0 && wr_setting_ms(s, WR_SET_HANG_TIMEOUT) >= 0);
    must(wr_setting_count(s, WR_SET_TASKMANAGER_SLOTS) <= WR_SLOTS_MAX);
    must(wr_setting_permille(s, WR_SET_RESTART_FACTOR) >= 1000);
    (void)wr_setting_bytes(s, WR_SET_STATE_MAX);
    (void)wr_setting_on(s, WR_SET_INSECURE);
    free(text);
    free(s);
    return 0;
}
