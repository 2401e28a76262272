// Stands for Monaco's editors of differences, which its entry imports and this page never opens.

export class DiffEditorWidget {}
export class MultiDiffEditorWidget {}
