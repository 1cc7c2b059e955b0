/* base/env_io.h: storage in the background over the operating system: the four io_ functions of wr_env_real().
 *
 * Two back ends of one interface. io_uring where the system allows it; a helper thread per queue where it does not
 * (containers often forbid io_uring), or where the environment variable WEIR_IO=thread asks for it. */
#ifndef WR_BASE_ENV_IO_H
#define WR_BASE_ENV_IO_H
#include "base/env.h"

/* As the members of wr_env say. self is not looked at. */
int      wr_io_real_new(void *self, wr_io **io, wr_parker *parker, uint32_t depth);
void     wr_io_real_free(void *self, wr_io *io);
int      wr_io_real_submit(void *self, wr_io *io, const wr_io_op *op);
uint32_t wr_io_real_reap(void *self, wr_io *io, wr_io_done *done, uint32_t n);

/* "io_uring" or "thread". Any thread. */
const char *wr_io_real_name(const wr_io *io);

#endif
