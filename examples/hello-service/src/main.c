/* hello-service greets the machine it runs on until it is told to stop. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "greeting.h"

static const unsigned seconds = 60;

static volatile sig_atomic_t stopped;

static void stop(int signal) {
	(void)signal;
	stopped = 1;
}

int main(void) {
	char host[256] = "", text[512];
	struct sigaction action = {.sa_handler = stop};

	if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0) {
		perror("sigaction");
		return EXIT_FAILURE;
	}
	if (gethostname(host, sizeof host - 1) < 0) {
		perror("gethostname");
		return EXIT_FAILURE;
	}
	greeting(text, sizeof text, host);
	while (!stopped) {
		if (puts(text) == EOF || fflush(stdout) == EOF)
			return EXIT_FAILURE;
		sleep(seconds);
	}
	return EXIT_SUCCESS;
}
