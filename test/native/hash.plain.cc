// Compares the portable forms of the hashes with those that use special instructions, where this processor has them. Prints the number of
// messages compared; built and run by hash.plain.test.ts with the sanitizers on.
#include <cstdio>
#include <cstring>
#include <memory>

#include "hash/crc32.h"
#include "hash/sha256.h"

namespace {

// Exactly as long as the message, so that the address sanitizer sees every byte read beyond it.
std::unique_ptr<uint8_t[]> message(size_t size, size_t shift) {
  std::unique_ptr<uint8_t[]> bytes(new uint8_t[size + shift]);
  uint32_t state = static_cast<uint32_t>(size * 31 + shift);
  for (size_t k = 0; k < size + shift; k++) bytes[k] = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

// One message, and two side by side, with and without instructions. In two parts, so that a block is put together from both.
bool same_sha256(const uint8_t* data, const uint8_t* other, size_t size) {
  uint8_t one[2][32], two[2][2][32];
  for (int portable = 0; portable < 2; portable++) {
    tc::sha256_force_portable(portable == 1);
    tc::Sha256 hash;
    hash.update(data, size / 3);
    hash.update(data + size / 3, size - size / 3);
    hash.finish(one[portable]);
    tc::Sha256Lanes<2> lanes;
    lanes.update({other, data}, size / 3);
    lanes.update({other + size / 3, data + size / 3}, size - size / 3);
    lanes.finish({two[portable][0], two[portable][1]});
  }
  return std::memcmp(one[0], one[1], 32) == 0 && std::memcmp(one[0], two[0][1], 32) == 0 && std::memcmp(two[0], two[1], 64) == 0;
}

bool same_crc32(const uint8_t* data, size_t size) { return tc::crc32(data, size, 0x1234) == ~tc::crc32_tables(data, size, ~0x1234u); }
bool joins_crc32(const uint8_t* data, size_t size) {
  const size_t first = size / 3;
  return tc::crc32_join(tc::crc32(data, first), tc::crc32(data + first, size - first), size - first) == tc::crc32(data, size);
}

}  // namespace

int main() {
  int compared = 0;
  for (size_t size = 0; size <= 700; size++) {
    for (size_t shift = 0; shift < 17; shift += size < 300 ? 1 : 5, compared++) {
      const auto bytes = message(size, shift);
      const auto other = message(size, shift + 1);
      if (same_sha256(bytes.get() + shift, other.get() + shift + 1, size) && same_crc32(bytes.get() + shift, size) && joins_crc32(bytes.get() + shift, size)) continue;
      std::printf("different at %zu bytes, shift %zu\n", size, shift);
      return 1;
    }
  }
  std::printf("%d\n", compared);
}
