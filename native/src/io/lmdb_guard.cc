#include "io/lmdb_guard.h"

#if defined(__linux__) && defined(__LP64__) && (defined(__x86_64__) || defined(__aarch64__))

#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace tc {
namespace {

constexpr char kMessage[] = "Attempting to write page";
constexpr size_t kMessageRoom = 100;

int bounded_sprintf(char* out, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const bool is_that = std::strncmp(format, kMessage, sizeof(kMessage) - 1) == 0;
  const int written = is_that ? std::vsnprintf(out, kMessageRoom, format, arguments) : std::vsprintf(out, format, arguments);
  va_end(arguments);
  return written;
}

#ifdef __x86_64__
constexpr uint32_t kJumpSlot = R_X86_64_JUMP_SLOT;
constexpr uint32_t kGlobalData = R_X86_64_GLOB_DAT;
#else
constexpr uint32_t kJumpSlot = R_AARCH64_JUMP_SLOT;
constexpr uint32_t kGlobalData = R_AARCH64_GLOB_DAT;
#endif

struct Tables {
  const Elf64_Sym* symbols = nullptr;
  const char* names = nullptr;
  const Elf64_Rela* calls = nullptr;
  size_t calls_bytes = 0;
  const Elf64_Rela* data = nullptr;
  size_t data_bytes = 0;
};

Tables tables_of(uintptr_t base, const Elf64_Dyn* dynamic) {
  // glibc has made these addresses, musl leaves them as offsets.
  const auto at = [base](uintptr_t value) { return value < base ? value + base : value; };
  Tables tables;
  for (; dynamic->d_tag != DT_NULL; dynamic++) {
    const uintptr_t value = dynamic->d_un.d_ptr;
    switch (dynamic->d_tag) {
      case DT_SYMTAB: tables.symbols = reinterpret_cast<const Elf64_Sym*>(at(value)); break;
      case DT_STRTAB: tables.names = reinterpret_cast<const char*>(at(value)); break;
      case DT_JMPREL: tables.calls = reinterpret_cast<const Elf64_Rela*>(at(value)); break;
      case DT_PLTRELSZ: tables.calls_bytes = dynamic->d_un.d_val; break;
      case DT_RELA: tables.data = reinterpret_cast<const Elf64_Rela*>(at(value)); break;
      case DT_RELASZ: tables.data_bytes = dynamic->d_un.d_val; break;
      default: break;
    }
  }
  return tables;
}

bool point_to(void** slot, void* function) {
  if (*slot == function) return true;
  const auto page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  void* page = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(slot) & ~(page_bytes - 1));
  // It stays writable, as without full RELRO, with which the package is not linked.
  if (mprotect(page, page_bytes, PROT_READ | PROT_WRITE) != 0) return false;
  *slot = function;
  return true;
}

bool mend(uintptr_t base, const Tables& tables, const Elf64_Rela* relocations, size_t bytes) {
  bool mended = false;
  for (size_t k = 0; relocations != nullptr && k < bytes / sizeof(Elf64_Rela); k++) {
    const uint32_t type = ELF64_R_TYPE(relocations[k].r_info);
    if (type != kJumpSlot && type != kGlobalData) continue;
    const char* name = tables.names + tables.symbols[ELF64_R_SYM(relocations[k].r_info)].st_name;
    if (std::strcmp(name, "sprintf") == 0) mended |= point_to(reinterpret_cast<void**>(base + relocations[k].r_offset), reinterpret_cast<void*>(bounded_sprintf));
  }
  return mended;
}

int visit(dl_phdr_info* object, size_t, void* mended) {
  if (std::strstr(object->dlpi_name, "@lmdb/lmdb-") == nullptr) return 0;
  for (int k = 0; k < object->dlpi_phnum; k++) {
    if (object->dlpi_phdr[k].p_type != PT_DYNAMIC) continue;
    const uintptr_t base = object->dlpi_addr;
    const Tables tables = tables_of(base, reinterpret_cast<const Elf64_Dyn*>(base + object->dlpi_phdr[k].p_vaddr));
    if (tables.symbols == nullptr || tables.names == nullptr) continue;
    *static_cast<bool*>(mended) |= mend(base, tables, tables.calls, tables.calls_bytes) | mend(base, tables, tables.data, tables.data_bytes);
  }
  return 0;
}

}  // namespace

bool guard_lmdb() {
  bool mended = false;
  dl_iterate_phdr(visit, &mended);
  return mended;
}

}  // namespace tc

#else

namespace tc {
bool guard_lmdb() { return false; }
}  // namespace tc

#endif
