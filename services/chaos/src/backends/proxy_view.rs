//! What is read back of the fault proxy, in words.

use fault_proxy::ProxyView;

use super::toxics::Deed;

/// Where a proxy listens, and where it leads.
pub(super) fn place(view: &ProxyView) -> String {
    format!("proxy {} ({} → {})", view.name, view.listen, view.upstream)
}

/// What is read back of a fault; or that it is not there.
pub(super) fn shown(view: &ProxyView, id: &str, deed: &Deed) -> Result<String, String> {
    let place = place(view);
    match deed {
        Deed::Refuse if view.enabled => Err(format!("{place} still listens")),
        Deed::Refuse => Ok(format!("{place} does not listen")),
        Deed::Toxic(stream, attributes) => {
            let toxic = view.toxics.iter().find(|toxic| toxic.name == id);
            let toxic = toxic.ok_or_else(|| format!("{place} has no toxic {id}"))?;
            if toxic.stream != *stream || toxic.attributes != *attributes {
                return Err(format!("{place} has another toxic {id}: {:?}", toxic.attributes));
            }
            let type_name = attributes.type_name();
            let fields = serde_json::to_string(attributes).unwrap_or_default();
            let (stream, share) = (stream.name(), toxic.toxicity * 100.0);
            Ok(format!("{place} has {type_name} {fields}, {stream}, on {share} % of connections"))
        }
    }
}
