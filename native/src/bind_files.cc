#include <napi.h>

namespace tc {
void init_files(Napi::Env, Napi::Object) {}
}  // namespace tc
