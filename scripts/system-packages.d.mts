export declare function withServicesDenied(path: string, work: () => void): void
export declare function unitsIn(files: readonly string[]): readonly string[]
