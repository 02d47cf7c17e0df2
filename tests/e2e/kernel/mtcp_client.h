/* The names of mtcp_client.h for the kernel's own calls. A program written for mtcpd that is
 * built against this header runs on the kernel's TCP: the other end of a test, and the proof
 * that what a test expects of mtcpd is what Linux does.
 */
#ifndef MTCP_CLIENT_H
#define MTCP_CLIENT_H

#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define mtcp_socket	   socket
#define mtcp_bind	   bind
#define mtcp_listen	   listen
#define mtcp_accept	   accept
#define mtcp_accept4	   accept4
#define mtcp_connect	   connect
#define mtcp_read	   read
#define mtcp_write	   write
#define mtcp_readv	   readv
#define mtcp_writev	   writev
#define mtcp_recv	   recv
#define mtcp_send	   send
#define mtcp_recvmsg	   recvmsg
#define mtcp_sendmsg	   sendmsg
#define mtcp_shutdown	   shutdown
#define mtcp_close	   close
#define mtcp_getsockname   getsockname
#define mtcp_getpeername   getpeername
#define mtcp_setsockopt	   setsockopt
#define mtcp_getsockopt	   getsockopt
#define mtcp_fcntl	   fcntl
#define mtcp_ioctl	   ioctl
#define mtcp_epoll_create1 epoll_create1
#define mtcp_epoll_ctl	   epoll_ctl
#define mtcp_epoll_wait	   epoll_wait
#define mtcp_poll	   poll

#endif
