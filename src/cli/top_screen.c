#include "cli/top_screen.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/buf.h"

#define ESC "\033"
#define ENTER ESC "[?1049h" ESC "[?25l"
#define LEAVE ESC "[?25h" ESC "[?1049l"
#define CTRL_C 3
#define WIDTH_OTHERWISE 80u
#define HEIGHT_OTHERWISE 24u

static void put(struct view text)
{
	while (text.n) {
		ssize_t n = write(STDOUT_FILENO, text.p, text.n);

		if (n < 0 && errno != EINTR)
			return; /* the next read tells that the terminal is gone */
		text = view_skip(text, n < 0 ? 0 : (size_t)n);
	}
}

bool screen_open(struct screen *s)
{
	struct termios raw;
	sigset_t mask;

	if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &s->before) < 0)
		return false;
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGWINCH);
	sigprocmask(SIG_BLOCK, &mask, &s->mask_before);
	s->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	raw = s->before;
	raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO | ISIG);
	raw.c_oflag &= (tcflag_t)~OPOST;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (s->signals < 0 || tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0) {
		sigprocmask(SIG_SETMASK, &s->mask_before, NULL);
		return false;
	}
	put(VIEW(ENTER));
	return true;
}

void screen_close(struct screen *s)
{
	put(VIEW(LEAVE));
	tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
	close(s->signals);
	sigprocmask(SIG_SETMASK, &s->mask_before, NULL);
}

void screen_size(uint32_t *width, uint32_t *height)
{
	struct winsize size = {0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*width = size.ws_col ? size.ws_col : WIDTH_OTHERWISE;
	*height = size.ws_row ? size.ws_row : HEIGHT_OTHERWISE;
}

/* Each line ends with what clears its rest; the last one with what clears the rest of the screen. */
void screen_draw(struct view lines, uint32_t marked)
{
	struct buf out = {0};

	buf_text(&out, ESC "[H");
	for (uint32_t n = 1; lines.n; n++) {
		struct view line = view_cut(&lines, '\n');

		buf_text(&out, n == marked ? ESC "[7m" : "");
		buf_append(&out, line.p, line.n);
		buf_text(&out, n == marked ? ESC "[0m" : "");
		buf_text(&out, lines.n ? ESC "[K\r\n" : ESC "[K" ESC "[J");
	}
	put(buf_view(&out));
	buf_fini(&out);
}

static enum screen_key take_signal(struct screen *s)
{
	struct signalfd_siginfo what;

	if (read(s->signals, &what, sizeof(what)) != (ssize_t)sizeof(what))
		return SCREEN_NONE;
	return what.ssi_signo == SIGWINCH ? SCREEN_RESIZED : SCREEN_END;
}

/* Arrows come as three bytes at once, ESC [ A; other sequences mean nothing here. */
static enum screen_key take_key(char *letter)
{
	char bytes[32];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return SCREEN_NONE;
	if (n <= 0 || bytes[0] == CTRL_C)
		return SCREEN_END;
	if (bytes[0] == '\033')
		return n == 3 && bytes[2] == 'A'   ? SCREEN_UP
		       : n == 3 && bytes[2] == 'B' ? SCREEN_DOWN
						   : SCREEN_NONE;
	*letter = bytes[0];
	return SCREEN_OTHER;
}

enum screen_key screen_wait(struct screen *s, uint64_t wait_ms, char *letter)
{
	struct pollfd waiting[] = {{s->signals, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};

	if (poll(waiting, 2, wait_ms > 60000 ? 60000 : (int)wait_ms) <= 0)
		return SCREEN_NONE;
	return waiting[0].revents ? take_signal(s) : take_key(letter);
}
