#include <napi.h>

namespace tc {
void init_rows(Napi::Env, Napi::Object) {}
}  // namespace tc
