import { defineConfig } from 'vitest/config'

// Long forms: kills at many system calls, full disks, bit flips by the thousand, many processes. Minutes, not seconds.
export default defineConfig({
  test: {
    include: ['test/stress/**/*.test.ts'],
    setupFiles: ['test/support/turn.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 1_800_000,
    hookTimeout: 60_000,
  },
})
