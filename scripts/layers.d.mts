export declare const LAYERS: Readonly<Record<string, unknown>>
export declare function forbiddenImports(file: string, text: string): readonly string[]
export declare function checkLayers(root: string): readonly string[]
export declare function layerTable(): string
