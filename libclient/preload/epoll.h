/* What the rest of the adapter tells the epoll part about files. All: pl_lock held. */
#ifndef PRELOAD_EPOLL_H
#define PRELOAD_EPOLL_H

#include "fd.h"

/* f has become mtcpd's socket sd: epoll sets that hold it stop asking the kernel about it. */
void pl_epoll_file_native(struct pl_file *f, int sd);
/* f, mtcpd's so far, goes to the kernel as fd: epoll sets that hold it ask the kernel. */
void pl_epoll_file_kernel(struct pl_file *f, int fd);
/* f is decided, or has no number any more: nothing will have to be moved for it. */
void pl_epoll_file_gone(struct pl_file *f);

#endif
