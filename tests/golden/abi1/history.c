/* State per key that is more than numbers: what each visitor of a web site did, told when he leaves.
 *
 *     $ weir build -q history.c
 *     $ printf 'ada,/home,2\nada,/tea,9\nbob,/home,5\nada,/home,1\nada,/leave,0\nada,/bread,7\nada,/leave,0\n' >views
 *     $ weir run -q -p 1 history.so <views
 *     ada,/home,/tea,3 views of 2 pages,/tea /home
 *     ada,/bread,/bread,1 views of 1 pages,/bread
 */
#include <weir/pipeline.h>

WEIR_RECORD(view, (weir_str, user), (weir_str, page), (uint32_t, seconds))
WEIR_RECORD(page, (weir_str, name), (uint32_t, views))
WEIR_RECORD(story, (weir_str, user), (weir_str, entry), (weir_str, longest), (weir_str, sum), (weir_str, path))

/* Each cell owns its strings; all zero is empty. Pages are found by their name. */
WEIR_TABLE(page, name)
WEIR_STATE(visit, (weir_text, entry), (value, view, longest), (list, view, recent), (table, page, pages))

#define STR(S) (int)(S).len, weir_str_data(&(S)) /* for "%.*s" */

static void tell(const view *in, visit *st, story_out *out, weir_ctx *ctx)
{
    weir_str  sum, path = weir_lit("");
    view_rows recent = view_list_rows(ctx, &st->recent);
    for (const view *v; (v = view_next(&recent));)
        path = weir_format(ctx, "%.*s%s%.*s", STR(path), path.len ? " " : "", STR(v->page));
    uint32_t  views = 0;
    page_rows all = page_table_rows(ctx, &st->pages);
    for (const page *row; (row = page_next(&all));) views += row->views;
    sum = weir_format(ctx, "%u views of %u pages", views, page_table_count(&st->pages));
    weir_str entry = weir_text_get(ctx, &st->entry), longest = view_value_get(ctx, &st->longest)->page;
    story_emit(out, (story){in->user, entry, longest, sum, path});
}

WEIR_KEYED(remember, view, in, visit, st, story, out, ctx)
{
    weir_str    leave = weir_lit("/leave");
    const view *longest = view_value_get(ctx, &st->longest);
    if (weir_str_equal(&in->page, &leave)) {
        if (longest) tell(in, st, out, ctx);
        return weir_forget(ctx); /* the next view of this user starts from zero */
    }
    if (!longest) weir_text_set(ctx, &st->entry, in->page);
    if (!longest || in->seconds > longest->seconds) view_value_set(ctx, &st->longest, *in);
    view_list_add(ctx, &st->recent, *in);
    if (view_list_count(&st->recent) > 2) view_list_drop(ctx, &st->recent, 1);
    const page *known = page_table_get(ctx, &st->pages, in->page);
    page_table_put(ctx, &st->pages, (page){.name = in->page, .views = known ? known->views + 1 : 1});
}

WEIR_PIPELINE(history, p)
{
    view_stream views = weir_source(view, p, "stdin:", .name = "views", .format = WEIR_CSV);
    weir_sink(weir_apply(remember, weir_key_by(views, user)), "print:", .name = "stories");
}
