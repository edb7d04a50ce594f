//! The registry as the database has it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use sqlx::{Connection, PgConnection};

use super::{Family, Parameter, SearchRegistry, TypeParameters};
use crate::fhir::error::FhirError;
use crate::fhir::search::index::INDEX_VERSION;
use crate::fhir::search::own;
use crate::fhir::search::reindex::honesty::Concern;
use crate::fhir::store::{Store, TypeNames};
use crate::knowledge::definitions::{Definitions, SearchParameter, SearchParameterType, TypeId};
use crate::knowledge::extraction::{CompositePlan, ExtractionPlan};

/// What of a registry is the same at all times.
pub(super) struct Basis {
    pub definitions: &'static Definitions,
    pub base_url: String,
    /// R4's parameters that resources are indexed by: type, its number, the parameter.
    pub built_in: Vec<(&'static str, i16, Arc<SearchParameter>)>,
}

impl Basis {
    pub fn new(types: &TypeNames, definitions: &'static Definitions, base_url: &str) -> Basis {
        Basis {
            definitions,
            base_url: base_url.to_owned(),
            built_in: applicable(types, definitions),
        }
    }
}

/// The columns of [`Row`], in its order.
type Columns = (i16, i16, String, i64, Option<i64>, Option<i64>);

/// A row of `search_parameter` that is in use.
struct Row {
    id: i16,
    type_id: i16,
    code: String,
    generation: i64,
    /// The rid of the SearchParameter that defines it.
    source: Option<i64>,
    /// The run that must end before all resources are indexed by it.
    reindex: Option<i64>,
}

impl SearchRegistry {
    /// Reads the registry, sharing with `previous` what did not change since.
    ///
    /// # Errors
    /// 503 when the database cannot be reached, or when a release with other rules of indexing has taken it over.
    pub(super) async fn read(
        connection: &mut PgConnection,
        types: &TypeNames,
        basis: &Basis,
        previous: Option<&SearchRegistry>,
    ) -> Result<SearchRegistry, FhirError> {
        // One snapshot, so that numbers, definitions and generation belong together.
        let mut transaction = connection
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .await?;
        let (generation, rules): (i64, Option<i32>) = sqlx::query_as("SELECT generation, rules FROM search_registry")
            .fetch_one(&mut *transaction)
            .await?;
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT id, type, code, generation, source, reindex FROM search_parameter WHERE NOT dropped",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let sources: Vec<(i64, String)> = sqlx::query_as(
            "SELECT r.rid, r.content::text FROM resource r \
             WHERE r.rid IN (SELECT source FROM search_parameter WHERE NOT dropped) AND NOT r.deleted",
        )
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        if previous.is_some() && rules.is_some_and(|rules| rules != INDEX_VERSION) {
            return Err(FhirError::unavailable(
                "Another release of the server has taken over this database. This one only reads.",
            ));
        }
        let rows: Vec<Row> = rows
            .into_iter()
            .map(|(id, type_id, code, generation, source, reindex)| Row {
                id,
                type_id,
                code,
                generation,
                source,
                reindex,
            })
            .collect();
        let own: HashMap<i64, Arc<SearchParameter>> = sources
            .iter()
            .filter_map(|(rid, json)| {
                let resource = serde_json::from_str(json).ok()?;
                Some((*rid, Arc::new(own::definition::read(&resource)?)))
            })
            .collect();
        let mut concerns = HashMap::new();
        let mut by_type: HashMap<i16, BTreeMap<&str, &Row>> = HashMap::new();
        for row in &rows {
            let is_incomplete = row.reindex.is_some();
            if let (true, Some(resource_type)) = (is_incomplete || row.source.is_some(), types.name(row.type_id)) {
                let concern = Concern {
                    param: row.id,
                    resource_type,
                    code: row.code.clone(),
                    generation: row.generation,
                    is_incomplete,
                };
                concerns.insert(row.id, concern);
            }
            by_type.entry(row.type_id).or_default().insert(&row.code, row);
        }
        let mut registry = SearchRegistry {
            definitions: basis.definitions,
            base_url: basis.base_url.clone(),
            generation,
            types: HashMap::new(),
            concerns,
            capabilities: OnceLock::new(),
        };
        let mut built_in: HashMap<i16, Vec<&Arc<SearchParameter>>> = HashMap::new();
        for (_, type_id, definition) in &basis.built_in {
            built_in.entry(*type_id).or_default().push(definition);
        }
        for ty in basis.definitions.resource_types() {
            let Some(number) = types.id(&ty.name) else { continue };
            let rows = by_type.remove(&number).unwrap_or_default();
            let known = previous.and_then(|previous| previous.types.get(ty.name.as_str()));
            if let Some(known) = known.filter(|known| known.consists_of(&rows)) {
                registry.types.insert(&ty.name, known.clone());
                continue;
            }
            let definitions = built_in.get(&number).into_iter().flatten();
            let built_in =
                definitions.filter_map(|definition| Some((*rows.get(definition.code.as_str())?, *definition)));
            let own = rows.values().filter_map(|row| Some((*row, own.get(&row.source?)?)));
            let own = own.filter(|(_, definition)| compiles(basis.definitions, ty.id, definition));
            let parameters = built_in.chain(own).filter_map(|(row, definition)| {
                let parameter = Parameter {
                    id: row.id,
                    definition: definition.clone(),
                    family: Family::of(definition.kind)?,
                    generation: row.generation,
                    is_own: row.source.is_some(),
                    tokens: OnceLock::new(),
                };
                Some((row.code.clone(), parameter))
            });
            let parameters = TypeParameters {
                type_id: ty.id,
                by_code: parameters.collect(),
                layout: OnceLock::new(),
            };
            registry.types.insert(&ty.name, Arc::new(parameters));
        }
        Ok(registry)
    }
}

impl TypeParameters {
    /// Whether these are the parameters that `rows` tell.
    fn consists_of(&self, rows: &BTreeMap<&str, &Row>) -> bool {
        let same =
            |(parameter, row): (&Parameter, &&Row)| parameter.id == row.id && parameter.generation == row.generation;
        self.by_code.len() == rows.len() && self.by_code.values().zip(rows.values()).all(same)
    }
}

/// It was checked when it was stored, perhaps by another release. What fails here must not keep its whole type from being
/// written.
fn compiles(definitions: &'static Definitions, ty: TypeId, own: &SearchParameter) -> bool {
    let expression = own.expression.as_deref().unwrap_or_default();
    let components = own.components.iter().map(|component| component.expression.as_str());
    let compiled = match own.kind {
        SearchParameterType::Composite => {
            CompositePlan::compile(definitions, ty, [((), expression, components.collect())]).map(drop)
        }
        _ => ExtractionPlan::compile(definitions, ty, [((), expression)]).map(drop),
    };
    if let Err(error) = &compiled {
        tracing::error!(url = own.url, %error, "a search parameter is not used");
    }
    compiled.is_ok()
}

/// Every parameter of R4 that resources are indexed by.
fn applicable(
    numbers: &TypeNames,
    definitions: &'static Definitions,
) -> Vec<(&'static str, i16, Arc<SearchParameter>)> {
    let mut applicable = Vec::new();
    for definition in &definitions.search_parameters {
        // `_id` and `_lastUpdated` are columns of the resource row.
        let column = matches!(definition.code.as_str(), "_id" | "_lastUpdated");
        if column || definition.expression.is_none() || Family::of(definition.kind).is_none() {
            continue;
        }
        let shared = Arc::new(definition.clone());
        for concrete in own::definition::concrete_types(definitions, &definition.base) {
            if let Some(number) = numbers.id(&concrete.name) {
                applicable.push((concrete.name.as_str(), number, shared.clone()));
            }
        }
    }
    applicable
}

/// Gives a number to each parameter of R4 that has none in this database yet.
///
/// # Errors
/// When the database may not be written although numbers are missing.
pub(super) async fn number(store: &Store, basis: &Basis) -> Result<(), FhirError> {
    // Instances that start together would give out the same numbers; a unique key refuses the later one's, which then
    // finds what the earlier one wrote.
    const ADD: &str = "INSERT INTO search_parameter (id, type, code, url) \
         SELECT (SELECT coalesce(max(id), 0) FROM search_parameter) + row_number() OVER (ORDER BY type, code), \
                type, code, url \
         FROM unnest($1::smallint[], $2::text[], $3::text[]) AS new (type, code, url) ON CONFLICT DO NOTHING";
    let mut lease = store.planned().await?;
    loop {
        let known: Vec<(i16, String)> = sqlx::query_as("SELECT type, code FROM search_parameter WHERE NOT dropped")
            .fetch_all(&mut *lease)
            .await?;
        let known: std::collections::HashSet<(i16, &str)> =
            known.iter().map(|(ty, code)| (*ty, code.as_str())).collect();
        let missing = basis.built_in.iter();
        let missing: Vec<_> = missing
            .filter(|(_, ty, p)| !known.contains(&(*ty, p.code.as_str())))
            .collect();
        if missing.is_empty() {
            lease.release();
            return Ok(());
        }
        let types: Vec<i16> = missing.iter().map(|(_, ty, _)| *ty).collect();
        let codes: Vec<&str> = missing
            .iter()
            .map(|(_, _, definition)| definition.code.as_str())
            .collect();
        let urls: Vec<&str> = missing
            .iter()
            .map(|(_, _, definition)| definition.url.as_str())
            .collect();
        sqlx::query(ADD)
            .bind(types)
            .bind(codes)
            .bind(urls)
            .execute(&mut *lease)
            .await?;
    }
}
