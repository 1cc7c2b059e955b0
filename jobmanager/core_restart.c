#include "jobmanager/core_restart.h"
#include "base/check.h"
#include <string.h>

enum {
    FIXED_DELAY_MS = 1000,
    FIRST_DELAY_MS = 100,
    MOST_DELAY_MS = 60000,
    WINDOW_MS = 60000,
    RATE_ATTEMPTS = 3,
    FACTOR_PERMILLE = 1500,
    FACTOR_PERMILLE_MAX = 100000,
    JITTER_PERMILLE = 100
};
static const int64_t TIME_MS_MAX = 365LL * 24 * 3600 * 1000;

const char *wr_restart_strategy_name(uint32_t strategy)
{
    static const char *const NAME[WR_RESTART_STRATEGIES] = {"default", "none", "fixed", "exponential", "failure-rate"};
    return strategy < WR_RESTART_STRATEGIES ? NAME[strategy] : "?";
}

static bool time_ok(int64_t ms)
{
    return ms >= 0 && ms <= TIME_MS_MAX;
}

wr_err wr_restart_complete(wr_restart_config *config, bool snapshots, wr_errinfo *info)
{
    wr_restart_config c = *config;
    if (c.strategy >= WR_RESTART_STRATEGIES) return wr_fail(info, WR_CONFIG, "no restart strategy %u", c.strategy);
    if (!time_ok(c.delay_ms) || !time_ok(c.delay_most_ms) || !time_ok(c.window_ms))
        return wr_fail(info, WR_CONFIG, "a time of the restart strategy is below 0 or above a year");
    if (c.strategy == WR_RESTART_DEFAULT) c.strategy = snapshots ? WR_RESTART_EXPONENTIAL : WR_RESTART_NONE;
    bool grows = c.strategy == WR_RESTART_EXPONENTIAL, rate = c.strategy == WR_RESTART_FAILURE_RATE;
    if (c.delay_ms == 0) c.delay_ms = grows ? FIRST_DELAY_MS : FIXED_DELAY_MS;
    if (c.delay_most_ms == 0) c.delay_most_ms = c.delay_ms > MOST_DELAY_MS ? c.delay_ms : MOST_DELAY_MS;
    if (c.window_ms == 0) c.window_ms = WINDOW_MS;
    if (c.attempts == 0 && rate) c.attempts = RATE_ATTEMPTS;
    if (c.factor_permille == 0) c.factor_permille = FACTOR_PERMILLE;
    if (rate && c.attempts > WR_RESTART_RATE_MAX)
        return wr_fail(info, WR_CONFIG, "a failure rate counts at most %d failures, not %u", WR_RESTART_RATE_MAX,
                       c.attempts);
    if (grows && c.delay_most_ms < c.delay_ms)
        return wr_fail(info, WR_CONFIG, "the greatest restart delay, %lld ms, is below the first, %lld ms",
                       (long long)c.delay_most_ms, (long long)c.delay_ms);
    if (grows && (c.factor_permille < 1000 || c.factor_permille > FACTOR_PERMILLE_MAX))
        return wr_fail(info, WR_CONFIG, "a restart delay grows by a factor of 1 to 100, not %u / 1000",
                       c.factor_permille);
    *config = c;
    return WR_OK;
}

void wr_restart_init(wr_restart *r, const wr_restart_config *config, const wr_restart_past *past)
{
    check(config->strategy > WR_RESTART_DEFAULT && config->strategy < WR_RESTART_STRATEGIES);
    check(config->attempts <= WR_RESTART_RATE_MAX || config->strategy != WR_RESTART_FAILURE_RATE);
    memset(r, 0, sizeof *r);
    r->config = *config;
    if (past == NULL || config->strategy == WR_RESTART_NONE) return;
    r->failed = past->failed;
    r->last_delay_ms = past->last_delay_ms > 0 ? past->last_delay_ms : config->delay_ms;
    if (past->last_delay_ms <= 0 && config->strategy == WR_RESTART_EXPONENTIAL) r->failed = 0; /* not kept once */
    if (config->strategy != WR_RESTART_FAILURE_RATE) return;
    r->failed = past->times < config->attempts ? past->times : config->attempts; /* a ring of so many */
    for (uint32_t i = 0; i < r->failed; i++) r->at_ms[i] = past->at_ms[past->times - r->failed + i];
}

/* The oldest of the last `attempts` failures tells whether this one is one too many. One that is yet to come is of
 * before the wall's clock was set back, and another JobManager's: nobody knows how long ago it was. */
static bool too_often(wr_restart *r, int64_t now_ms)
{
    uint32_t n = r->config.attempts;
    bool     full = r->failed >= n;
    int64_t  oldest = r->at_ms[r->failed % n];
    r->at_ms[r->failed % n] = now_ms;
    r->failed = r->failed + 1 < 2 * n ? r->failed + 1 : n; /* goes round without an end */
    return full && oldest <= now_ms && now_ms - oldest < r->config.window_ms;
}

static int64_t next_delay(wr_restart *r, uint64_t random)
{
    const wr_restart_config *c = &r->config;
    int64_t                  delay = r->failed == 0 ? c->delay_ms : r->last_delay_ms * c->factor_permille / 1000;
    if (r->failed > 0 && delay == r->last_delay_ms && c->factor_permille > 1000) delay++; /* of a few ms */
    if (delay > c->delay_most_ms) delay = c->delay_most_ms;
    r->last_delay_ms = delay;
    int64_t reach = delay * JITTER_PERMILLE / 1000;
    return delay - reach + (int64_t)(random % (uint64_t)(2 * reach + 1));
}

bool wr_restart_failed(wr_restart *r, wr_err cause, int64_t now_ms, int64_t ran_ms, uint64_t random, int64_t *delay_ms,
                       const char **why)
{
    const wr_restart_config *c = &r->config;
    *why = "";
    *delay_ms = c->delay_ms;
    if (c->strategy != WR_RESTART_EXPONENTIAL) r->last_delay_ms = c->delay_ms;
    if (wr_err_reaction(cause) == WR_FAIL_JOB) {
        *why = "trying again cannot help";
        return false;
    }
    switch (c->strategy) {
    case WR_RESTART_FIXED:
        if (c->attempts > 0 && r->failed >= c->attempts) {
            *why = "it was restarted as often as its restart strategy allows";
            return false;
        }
        if (r->failed < UINT32_MAX) r->failed++;
        return true;
    case WR_RESTART_EXPONENTIAL:
        if (ran_ms >= c->window_ms) r->failed = 0;
        if (c->attempts > 0 && r->failed >= c->attempts) {
            *why = "it was restarted as often as its restart strategy allows";
            return false;
        }
        *delay_ms = next_delay(r, random);
        if (r->failed < UINT32_MAX) r->failed++;
        return true;
    case WR_RESTART_FAILURE_RATE:
        if (too_often(r, now_ms)) {
            *why = "it failed more often than its restart strategy allows";
            return false;
        }
        return true;
    default: *why = "its restart strategy is none"; return false;
    }
}
