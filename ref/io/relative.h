/* relative.h - a file's path as it is named from a folder, for files that name others beside them. */
#ifndef MOLE_IO_RELATIVE_H
#define MOLE_IO_RELATIVE_H

/* `to` as it is named from `folder`, both as realpath gives them: "../b/c" of /a and /b/c. Fresh memory. */
char *path_relative(const char *folder, const char *to);

#endif
