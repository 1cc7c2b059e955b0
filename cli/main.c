#include "cli/options.h"
#include <fcntl.h>
#include <unistd.h>

/* Of input, output and error what is closed becomes an empty file that takes nothing: else the next descriptor of ours
 * has its number, and what is printed goes there. */
static void take_standard_descriptors(void)
{
    int file;
    do file = open("/dev/null", O_RDONLY);
    while (file >= 0 && file <= STDERR_FILENO);
    if (file >= 0) close(file);
}

int main(int argc, char *argv[])
{
    take_standard_descriptors();
    return wr_cli_main(argc, argv);
}
