/* wire/record.h: one record as bytes that do not depend on the layout of its struct: fields in order, numbers little
 * endian, strings with their length. For splits, committables, keys and rows of savepoints. Only kinds that records
 * have, and timers, whose 8 bytes are copied: no cells. Pure. Any thread. Format: docs/formats-savepoint.md. */
#ifndef WR_WIRE_RECORD_H
#define WR_WIRE_RECORD_H
#include <stdbool.h>
#include <stddef.h>
#include <weir/op.h>

/* How many bytes wr_record_write writes. */
size_t wr_record_bytes(const weir_type *type, const void *record);
/* Returns how many it wrote: wr_record_bytes of them. */
size_t wr_record_write(const weir_type *type, const void *record, char *to);
/* The same in new memory: free() it. */
char *wr_record_encode(const weir_type *type, const void *record, size_t *bytes);
/* Reads one record of type->size bytes; padding is zero. Far strings borrow `from`, short ones are in canonical form.
 * Returns how many bytes it took, or 0 when they are no record of this type (cut off, a bool that is neither 0 nor 1,
 * a string beyond the bounds). A record without fields takes 1 byte. */
size_t wr_record_read(const weir_type *type, const char *from, size_t n, void *record);
/* Exactly one record in n bytes. */
bool wr_record_decode(const weir_type *type, const char *from, size_t n, void *record);

#endif
