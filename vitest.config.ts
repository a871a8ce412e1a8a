import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/stress/**'],
    setupFiles: ['test/support/turn.ts'],
    pool: 'forks',
    // Machines are noisy, and nothing here is a measurement.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
})
