// The LLMOps gateway on a free port of this machine; says which one.
import { serve } from "@hono/node-server";
import app from "@llmops/gateway";

serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) => console.log(`listening on ${port}`));
