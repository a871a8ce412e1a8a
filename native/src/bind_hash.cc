#include <napi.h>

namespace tc {
void init_hash(Napi::Env, Napi::Object) {}
}  // namespace tc
