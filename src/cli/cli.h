/* cli/cli.h - the command line; main() is one call */
#ifndef CLI_CLI_H
#define CLI_CLI_H

enum cli_status {
	CLI_DONE = 0,
	CLI_NO = 1,          /* it ran and the answer is no */
	CLI_USAGE = 2,       /* wrong usage or configuration */
	CLI_ENVIRONMENT = 3, /* cannot bind, cannot write, cannot connect */
};

int cli_main(int argc, char **argv);

#endif
