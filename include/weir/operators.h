/* weir/operators.h: operators. Each macro ends in a plain function header; the body that follows is inlined in a
 * loop over a batch. Arguments read like parameters: type, name, type, name. Lists end in  OUT [, CTX [, ON_TIMER]]:
 * add CTX when the body needs time, cells, timers, metrics or reject; add ON_TIMER, a plain static function written
 * before, when the state has timers. An operator of two functions (LEFT before RIGHT, SHARED before its user) gives
 * both the same NAME.
 *
 * The body becomes a function named weir_user_NAME, so an operator may be called `remove` whatever stdio.h says, and
 * may share its name with a record. It runs on the operator's thread; what it is given is valid until it returns. */
#ifndef WEIR_OPERATORS_H
#define WEIR_OPERATORS_H
#include <weir/operators_edge.h>
#include <weir/operators_fields.h>
#include <weir/operators_join.h>
#include <weir/operators_keyed.h>
#include <weir/operators_shared.h>
#include <weir/operators_stateless.h>
#include <weir/operators_window.h>
#endif
