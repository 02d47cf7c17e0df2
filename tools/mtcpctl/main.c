/* mtcpctl: shows what mtcpd does. See run.h. */
#include "run.h"

int main(int argc, char **argv)
{
	return mtcpctl_run(argc, argv, stdout, stderr);
}
