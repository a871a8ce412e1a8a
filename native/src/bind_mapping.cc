#include <napi.h>

namespace tc {
void init_mapping(Napi::Env, Napi::Object) {}
}  // namespace tc
