// Memory that was given back, kept for the next who wants as much: fresh pages cost more to be faulted in and zeroed than most results cost to be computed.
#pragma once

#include <cstddef>

namespace tc {

// One pool for the process; its memory belongs to nobody while it lies there. With arbitrary content, on a page's boundary; null when there is none.
void* pool_take(size_t bytes);
// `bytes` as they were asked for.
void pool_give(void* memory, size_t bytes);
// Past the pool: pages of one's own, so that what is given back is free for every size at once. malloc keeps blocks of up to 32 MiB in heaps, which volumes of many sizes leave full of holes.
void* pages_take(size_t bytes);
void pages_give(void* memory, size_t bytes);
// Rounded up by an eighth at most, so that those who want about as much find each other's memory.
size_t pool_size(size_t bytes);

}  // namespace tc
