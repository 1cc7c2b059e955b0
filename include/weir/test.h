/* weir/test.h: a pipeline under test: one thread, a clock that you move, and the streams you already have: push into
 * sources "test:", pull from any stream but a union. Link libweir. Everything here is called from one thread; a
 * weir_test owns all that it hands out. */
#ifndef WEIR_TEST_H
#define WEIR_TEST_H
#include <weir/pipeline.h>
WEIR_EXTERN_C_BEGIN_

/* Owner: the test. */
typedef struct weir_test weir_test;
/* args: program arguments, "limit=120 unit=km", or NULL. */
weir_test *weir_test_new(const char *args);
void       weir_test_free(weir_test *t);
/* Build into it with the usual verbs, before the first push; any weir_source(T, p, "test:") may be pushed into. */
weir_pipeline *weir_test_pipeline(weir_test *t);
/* A whole pipeline; set: "lines=test:" replaces sources and sinks by name, or NULL. */
void weir_test_build(weir_test *t, void (*build)(weir_pipeline *), const char *set);
/* Moves processing time; due clock timers fire in order. */
void weir_test_advance(weir_test *t, weir_duration by);
/* The end of all input: operators see it as in a bounded job. Nothing may be pushed after it. */
void weir_test_end(weir_test *t);
/* What a job's counter has counted, over all subtasks; 0 when the operator never used it. */
uint64_t weir_test_counter(weir_test *t, const char *uid, const char *name);
/* NULL, or why the job failed: cause, place, what to do. Lives until the next call. */
const char *weir_test_why(const weir_test *t);
/* Takes a snapshot, as a running job does, and returns its number when it is complete. A test that takes any takes the
 * first one before the first push. */
uint64_t weir_test_snapshot(weir_test *t);
/* All that runs is lost; the job goes back to the last snapshot, and what was pushed since then is read again. Records
 * that were caught for weir_test_pull stay, and those that come again come again. */
void weir_test_crash(weir_test *t);
/* Not yet: aborts the test with that word. Micro-batch mode: runs one batch. */
void weir_test_batch(weir_test *t);

/* What the macros below call. */
void weir_test_push_(weir_test *t, weir_node source, const weir_type *type, const void *record);
bool weir_test_pull_(weir_test *t, weir_node node, const weir_type *type, void *record);
void weir_test_watermark_(weir_test *t, weir_node source, weir_time at);
WEIR_EXTERN_C_END_

/* weir_test_push(t, source stream, (T){ ... })    copies the record in, then runs until all is quiet
 * weir_test_pull(t, stream, &record)              the next record that went by there since the start; false: there
 *                                                 is none. A route (weir_rebalance and the like) is the stream that it
 *                                                 was made of, and shares its records; a union aborts the test: name
 *                                                 one of its inputs, or what follows. Strings live until the next call
 * weir_test_watermark(t, source stream, at)       event time of that source is `at` now */
#ifdef __cplusplus
template <class T> static inline void weir_test_push_as_(weir_test *t, weir_handle h, T record)
{
    weir_test_push_(t, h.node, h.type, &record);
}
template <class T> static inline bool weir_test_pull_as_(weir_test *t, weir_handle h, T *record)
{
    return weir_test_pull_(t, h.node, h.type, record);
}
#define weir_test_push(TEST, S, ...) weir_test_push_as_<WEIR_T_(S)>(TEST, (S).handle, __VA_ARGS__)
#define weir_test_pull(TEST, S, TO)  weir_test_pull_as_<WEIR_T_(S)>(TEST, (S).handle, TO)
#else
WEIR_FN_ void weir_test_push_as_(weir_test *t, weir_handle h, const void *record)
{
    weir_test_push_(t, h.node, h.type, record);
}
WEIR_FN_ bool weir_test_pull_as_(weir_test *t, weir_handle h, void *record)
{
    return weir_test_pull_(t, h.node, h.type, record);
}
#define weir_test_push(TEST, S, ...) weir_test_push_as_(TEST, (S).handle, (WEIR_T_(S)[1]){__VA_ARGS__})
#define weir_test_pull(TEST, S, TO)  weir_test_pull_as_(TEST, (S).handle, (WEIR_T_(S) *[1]){TO}[0])
#endif
#define weir_test_watermark(TEST, S, AT) weir_test_watermark_(TEST, (S).handle.node, AT)
#endif
