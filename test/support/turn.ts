// After every test the event loop turns: tests that wait for child processes in one go would otherwise keep vitest's own messages waiting until it gives up (a minute).
import { afterEach } from 'vitest'
import { setImmediate } from 'node:timers/promises'

afterEach(async () => {
  await setImmediate()
  await setImmediate()
})
