/* fault.h - what file.c asks of the fault switch before each of its system calls. */
#ifndef HONE_IO_FAULT_H
#define HONE_IO_FAULT_H

#include "io/file.h"

/* Counts one call and says how it shall fail. `makes_space_need`: the call takes disk space. */
hone_fault_mode hone_fault_next(bool makes_space_need);
/* The errno of a mode, 0 for those that are no error number. */
int hone_fault_errno(hone_fault_mode mode);
/* kill -9 on ourselves. */
void hone_fault_die(void);

#endif
