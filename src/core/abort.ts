interface Waiting {
  readonly calls: Set<(reason: Error) => void>
  readonly listener: () => void
}

const waiting = new WeakMap<AbortSignal, Waiting>()

/**
 * Calls `call` when the signal is aborted, which it must not be yet; what it gives ends that. All who wait for one signal share a listener: of more than ten Node says that they look like a leak, and a build has
 * hundreds of items waiting for the signal that ends it.
 */
export function onAbort(signal: AbortSignal, call: (reason: Error) => void): () => void {
  const shared = waiting.get(signal) ?? listen(signal)
  shared.calls.add(call)
  return () => {
    shared.calls.delete(call)
    if (shared.calls.size > 0 || waiting.get(signal) !== shared) return
    waiting.delete(signal)
    signal.removeEventListener('abort', shared.listener)
  }
}

function listen(signal: AbortSignal): Waiting {
  const calls = new Set<(reason: Error) => void>()
  const shared = { calls, listener: () => { for (const call of calls) call(signal.reason as Error) } }
  waiting.set(signal, shared)
  signal.addEventListener('abort', shared.listener, { once: true })
  return shared
}
