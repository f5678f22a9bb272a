export type WireId = 'anthropic' | 'responses' | 'chat' | 'gemini';

export interface SentText {
  role: 'user' | 'assistant' | 'tool' | 'system';
  text: string;
}

export interface ToolResult {
  tool_id: string;
  output: string;
  /** Only where the wire has such a mark; else false. */
  is_error: boolean;
}

/** One request for a model answer, read out of any wire format. */
export interface ModelRequest {
  wire: WireId;
  model: string;
  streaming: boolean;
  /** Asked for by the CLI on its own account (a title, a router's choice): answered, but takes no step. */
  side: boolean;
  system_text: string;
  /** The conversation in order, tool results included, the system prompt excluded. */
  texts: SentText[];
  /** All texts after the last thing the assistant said. */
  newest_text: string;
  /** As offered; tools of a namespace are written `namespace/name`. */
  tool_names: string[];
  tool_results: ToolResult[];
  /** A JSON schema that the answer must satisfy, if one was sent. */
  schema: unknown;
}
