//! What one server says in the Model Context Protocol; the protocol itself is the SDK's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::request::Parts;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorCode, ErrorData,
    GetPromptRequestParams, GetPromptResponse, GetPromptResult, Implementation, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams, Prompt,
    PromptArgument, PromptMessage, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Resource, ResourceContents, ResourceTemplate, Role, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};
use serving::traces::{self, Here};

use crate::app::App;
use crate::members::Kind;
use crate::tools::scanner::{MAX_FILES, source};
use crate::tools::storage::MAX_KEY;
use crate::tools::{self, Failure, Progress};

/// One for each session, or each request where the revision has none.
#[derive(Clone)]
pub(crate) struct Handler(pub(crate) Arc<App>);

/// The resource that every server has.
const MEMBERS: &str = "cluster://members";

impl Handler {
    fn offers_prompts(&self) -> bool {
        matches!(self.0.kind, Kind::SecurityScanner | Kind::InfrastructureCommander)
    }

    fn prompts(&self) -> Vec<Prompt> {
        let argument = |name: &str, what: &str| {
            Some(vec![PromptArgument::new(name).with_description(what).with_required(true)])
        };
        match self.0.kind {
            Kind::SecurityScanner => {
                vec![Prompt::new(
                    "review",
                    Some("Asks for a review of a repository."),
                    argument("repository", "Its name."),
                )]
            }
            Kind::InfrastructureCommander => {
                vec![Prompt::new(
                    "runbook",
                    Some("Asks for a runbook."),
                    argument("service", "What is to be run."),
                )]
            }
            _ => Vec::new(),
        }
    }

    async fn resource(&self, uri: &str) -> Result<Option<(String, &'static str)>, Failure> {
        let app = &self.0;
        if uri == MEMBERS {
            let view = app.cluster.view();
            let members = serde_json::to_string(&view.members).map_err(|e| Failure::tool(e.to_string()))?;
            return Ok(Some((members, "application/json")));
        }
        if let (Kind::StorageController, Some(key)) = (app.kind, uri.strip_prefix("object://")) {
            if key.is_empty() || key.len() > MAX_KEY {
                return Ok(None);
            }
            let record = app.cluster.read(key).await.map_err(|refused| Failure::tool(refused.to_string()))?;
            let content = record.and_then(|record| record.content);
            return Ok(content.map(|content| (content.to_string(), "text/plain")));
        }
        if let (Kind::SecurityScanner, Some(path)) = (app.kind, uri.strip_prefix("source://")) {
            let found =
                path.split_once('/').and_then(|(repository, file)| Some((repository, file.parse().ok()?)));
            return Ok(match found {
                Some((repository, file)) if file < MAX_FILES && !repository.is_empty() => {
                    Some((source(app.seed, repository, file), "text/plain"))
                }
                _ => None,
            });
        }
        Ok(None)
    }
}

/// The span of the request that somebody asks with. The SDK answers in a task of its own.
fn span(context: &RequestContext<RoleServer>) -> Option<Here> {
    context.extensions.get::<Parts>()?.extensions.get::<Here>().cloned()
}

/// Every list of ours is one page: no cursor was ever given out.
fn first_page(request: Option<&PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor.as_ref()) {
        Some(cursor) => Err(ErrorData::invalid_params(format!("there is no page {cursor:?}"), None)),
        None => Ok(()),
    }
}

// `get_tool`, which serves the SDK to check headers that stand for arguments, is left out: no tool of ours has any.
impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let app = &self.0;
        // Each type states its own capabilities: the builder's type tells which are there.
        let capabilities = if self.offers_prompts() {
            ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts().build()
        } else {
            ServerCapabilities::builder().enable_tools().enable_resources().build()
        };
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(app.name.clone(), app.versions().active().to_owned()))
            .with_instructions(format!("{} in {}", app.kind, app.region))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        first_page(request.as_ref())?;
        Ok(ListToolsResult::with_all_items(self.0.tools.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let app = &self.0;
        let _in_progress = InProgress::of(app);
        let span = span(&context);
        if let Some(span) = &span {
            span.note("mcp.method.name", "tools/call");
            span.note("gen_ai.tool.name", request.name.to_string());
        }
        let token = context.meta.get_progress_token();
        let progress = Progress { peer: context.peer, token, cancelled: context.ct };
        let result = if tools::names(app.kind).contains(&request.name.as_ref()) && !app.toll().await {
            Err(Failure::tool("the knob error_rate let this call fail"))
        } else {
            let call = tools::call(app, &request.name, request.arguments.unwrap_or_default(), &progress);
            traces::within(span.clone(), call).await
        };
        let outcome = match &result {
            Ok(_) => "ok",
            Err(Failure::Tool(_)) => "error",
            Err(Failure::Unknown) => "unknown",
        };
        app.called(&request.name, outcome);
        if let Some(span) = &span {
            span.note("mcp_cluster.outcome", outcome);
        }
        match result {
            Ok(value) => Ok(CallToolResult::structured(value).into()),
            Err(Failure::Tool(why)) => Ok(CallToolResult::error(vec![ContentBlock::text(why)]).into()),
            Err(Failure::Unknown) => {
                Err(ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None))
            }
        }
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        first_page(request.as_ref())?;
        let members = Resource::new(MEMBERS, "members").with_mime_type("application/json");
        let members = members.with_description("The servers of the cluster.");
        Ok(ListResourcesResult::with_all_items(vec![members]))
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        first_page(request.as_ref())?;
        let templates = match self.0.kind {
            Kind::StorageController => vec![ResourceTemplate::new("object://{+key}", "object")],
            Kind::SecurityScanner => vec![ResourceTemplate::new("source://{repository}/{file}", "source")],
            _ => Vec::new(),
        };
        Ok(ListResourceTemplatesResult::with_all_items(templates))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match traces::within(span(&context), self.resource(&request.uri)).await {
            Ok(Some((text, kind))) => {
                let contents = ResourceContents::text(text, request.uri).with_mime_type(kind);
                Ok(ReadResourceResult::new(vec![contents]).into())
            }
            Ok(None) => {
                // The code of its own went with the revision that has no sessions.
                let modern = context
                    .protocol_version()
                    .is_some_and(|v| v.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
                let code = if modern { ErrorCode::INVALID_PARAMS } else { ErrorCode::RESOURCE_NOT_FOUND };
                let uri = json!({ "uri": request.uri });
                Err(ErrorData::new(code, format!("there is no resource {}", request.uri), Some(uri)))
            }
            Err(Failure::Tool(why)) => Err(ErrorData::internal_error(why, None)),
            Err(Failure::Unknown) => Err(ErrorData::internal_error("unknown", None)),
        }
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        if !self.offers_prompts() {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "prompts/list", None));
        }
        first_page(request.as_ref())?;
        Ok(ListPromptsResult::with_all_items(self.prompts()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let (argument, text): (&str, fn(&str) -> String) = match (self.0.kind, request.name.as_str()) {
            (Kind::SecurityScanner, "review") => ("repository", |name| {
                format!("Scan the repository {name} and say for each finding how it is to be mended.")
            }),
            (Kind::InfrastructureCommander, "runbook") => ("service", |name| {
                format!("Write down, step by step, how the service {name} is rolled out and back.")
            }),
            (_, name) => {
                return Err(ErrorData::invalid_params(format!("there is no prompt {name:?}"), None));
            }
        };
        let given =
            request.arguments.as_ref().and_then(|arguments| arguments.get(argument)).and_then(Value::as_str);
        let Some(given) = given else {
            return Err(ErrorData::invalid_params(format!("the argument {argument:?} is missing"), None));
        };
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text(given))]).into())
    }
}

/// A tool call, which ends, too, when the SDK drops it.
struct InProgress<'a>(&'a App);

impl<'a> InProgress<'a> {
    fn of(app: &'a App) -> Self {
        app.counters.calls.fetch_add(1, Ordering::AcqRel);
        Self(app)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.counters.calls.fetch_sub(1, Ordering::AcqRel);
    }
}
