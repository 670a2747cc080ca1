/* main.c - the program `hone`: all of it is hone_cli_main in cli.h, so that tests can link it too.
 * Nothing else may stand here. */
#include "cli/cli.h"

int main(int argc, char **argv) { return hone_cli_main(argc, argv); }
