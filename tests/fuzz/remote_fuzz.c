/* Job graphs as bytes: refused in words, or one that can be planned and placed, and is written again as the same bytes
 * from then on. */
#include "graph/plan.h"
#include "graph/remote.h"
#include "tests/fuzz/fuzz.h"

static void plan(const wr_job *job)
{
    wr_exec   *x = NULL;
    wr_errinfo info = {0};
    char      *text = NULL;
    size_t     n = 0;
    uint64_t   subtasks = 0;
    for (uint32_t i = 0; i < job->tasks; i++) subtasks += job->task[i].parallelism;
    if (subtasks > 1000) return; /* takes its time, by design */
    if (wr_exec_new(job, &x, &info) != WR_OK) {
        must(info.code == WR_LIMIT);
        return;
    }
    FILE *file = open_memstream(&text, &n);
    must(file != NULL);
    if (x->channels < 10000) wr_plan_text(job, x, file);
    if (x->channels < 10000) wr_plan_json(job, x, file);
    fclose(file);
    free(text);
    wr_exec_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    wr_remote *r, *again;
    wr_errinfo info = {0};
    char      *copy = own(bytes, size), *one, *two;
    size_t     n, k;
    wr_err     err = wr_remote_decode(&r, copy, size, &info);
    free(copy);
    must(err == WR_OK ? info.code == WR_OK : (err == WR_DAMAGED || err == WR_NEWER) && info.code == err && r == NULL);
    if (err != WR_OK) return 0;
    plan(wr_remote_job(r));
    must(wr_remote_encode(wr_remote_job(r), &one, &n, &info) == WR_OK);
    must(wr_remote_decode(&again, one, n, &info) == WR_OK);
    must(wr_remote_encode(wr_remote_job(again), &two, &k, &info) == WR_OK);
    must(n == k && memcmp(one, two, n) == 0);
    free(one);
    free(two);
    wr_remote_free(r);
    wr_remote_free(again);
    return 0;
}
