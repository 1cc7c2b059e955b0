#include "cli/options.h"

int main(int argc, char *argv[])
{
    return wr_cli_main(argc, argv);
}
