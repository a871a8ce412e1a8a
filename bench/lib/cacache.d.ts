/** What the benchmarks use of it; it brings no types. */
declare module 'cacache' {
  const cacache: {
    put(dir: string, key: string, data: Uint8Array): Promise<unknown>
    get(dir: string, key: string): Promise<{ data: Buffer }>
  }
  export default cacache
}
