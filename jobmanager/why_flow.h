/* jobmanager/why_flow.h: the part of why.h that looks at figures: back-pressure, skew, event time, input. */
#ifndef WR_JOBMANAGER_WHY_FLOW_H
#define WR_JOBMANAGER_WHY_FLOW_H
#include "jobmanager/why.h"

/* ending: the sources were told to give nothing more. */
void wr_why_flows(const wr_why_input *in, wr_why_answer *answer, bool ending);
void wr_why_say(wr_why_answer *answer, uint32_t kind, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
