import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { z } from 'zod';

// An MCP server with one tool that says back what it was told; started by the real CLIs in tests.
const server = new McpServer({ name: 'echo', version: '1.0.0' });
const inputSchema = { text: z.string() };
server.registerTool('say', { description: 'Says the text back.', inputSchema }, ({ text }) => ({
  content: [{ type: 'text', text: `echo: ${text}` }],
}));
await server.connect(new StdioServerTransport());
