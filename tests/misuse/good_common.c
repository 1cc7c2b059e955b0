/* what the misuse files include */
#include "common.h"
