#include "base/sabotage.h"

wr_sabotage_switches wr_sabotage;
