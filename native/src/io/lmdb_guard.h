#pragma once

namespace tc {

// Keeps a page that LMDB cannot write from breaking the heap; gives false where there was nothing to mend. Call it once the lmdb package is loaded.
//
// When a page cannot be written (EIO, a full disk), lmdb (3.5.6, mdb_page_flush in its liblmdb/mdb.c) formats a message of up to 125 characters into malloc(100); glibc gives
// 104 bytes, and the process is aborted some time later ("corrupted size vs. prev_size"; 8 of 12 runs on full disks). Its call of sprintf is pointed to one that ends after 100. To be
// removed when the package writes with snprintf.
bool guard_lmdb();

}  // namespace tc
