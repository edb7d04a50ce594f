//! What a record consists of, and where a page of it ends.
//!
//! **Members** are found by the index rows of the search parameters that tie a type to the compartment
//! (<https://hl7.org/fhir/R4/compartmentdefinition.html>), **references** by reading the members, because several kinds
//! (an attachment's URL, the origin of a hospitalisation) are in no search parameter.
//!
//! **Care dates.** When care was given is told by the dates by which a type is searched: from the first to the last of them
//! (a condition from its onset to its abatement). Dates that only tell when something was written down count where there
//! are no others ([`RECORDED`]); birthdays, deaths and dates that are findings count never ([`NO_CARE`]).

use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::{Place, Request};
use crate::fhir::access::judge::{self, Judged};
use crate::fhir::caller::{Caller, Permissions};
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::search::Family;
use crate::fhir::search::reindex::honesty;
use crate::fhir::server::FhirServer;
use crate::fhir::store::{COLUMNS, Micros};

/// Codes of date parameters that tell when something was recorded rather than when it was.
const RECORDED: [&str; 11] = [
    "authored",
    "authored-on",
    "authoredon",
    "created",
    "datewritten",
    "entered-date",
    "issued",
    "received",
    "recorded",
    "recorded-date",
    "sent",
];

/// Codes of date parameters that say nothing about when care was given.
const NO_CARE: [&str; 5] = ["birthdate", "death-date", "payment-date", "target-date", "value-date"];

/// The parts of a record, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    Owner,
    Member,
    Referenced,
}

impl Stage {
    pub fn number(self) -> u8 {
        match self {
            Stage::Owner => 0,
            Stage::Member => 1,
            Stage::Referenced => 2,
        }
    }

    pub fn from_number(number: u8) -> Option<Stage> {
        [Stage::Owner, Stage::Member, Stage::Referenced]
            .into_iter()
            .find(|stage| stage.number() == number)
    }
}

/// A resource of a record.
pub struct Item {
    /// Whose record, by rid.
    pub owner: i64,
    pub stage: Stage,
    pub resource: StoredResource,
}

/// How to find the records of one type of owner.
pub struct Record<'s> {
    server: &'s FhirServer,
    caller: &'s Caller,
    owner_type: &'static str,
    owner_type_id: i16,
    patient_type_id: i16,
    /// Search parameters that tie members to the owner.
    ties: Vec<i16>,
    /// Those of the types that were asked for.
    wanted_ties: Vec<i16>,
    /// Search parameters that tie a resource to a patient.
    patient_ties: Vec<i16>,
    /// Date parameters of members: those that tell of care, and all that can.
    care_dates: Vec<i16>,
    all_dates: Vec<i16>,
    /// Types that were asked for; empty: all.
    types: Vec<i16>,
    since: Option<Micros>,
    care: Option<(Micros, Micros)>,
}

/// Whether resource `m.rid` is within the care dates: $3 to $4, by the parameters $5, or $6 where those have no value.
const IN_CARE: &str = "($3::timestamptz IS NULL OR ( \
         SELECT coalesce(min(d.low) FILTER (WHERE d.param = ANY ($5)), min(d.low)) < $4 \
            AND coalesce(max(d.high) FILTER (WHERE d.param = ANY ($5)), max(d.high)) > $3 \
         FROM idx_date d WHERE d.rid = m.rid AND d.param = ANY ($6)) IS NOT FALSE)";

impl<'s> Record<'s> {
    pub fn new(
        server: &'s FhirServer,
        caller: &'s Caller,
        owner_type: &'static str,
        request: &Request,
    ) -> Result<Record<'s>, FhirError> {
        let type_id = |name: &str| {
            let id = server.store.types().id(name);
            id.ok_or_else(|| FhirError::internal("a type of R4 has no number"))
        };
        let ties = ties(server, owner_type, &[]);
        let registry = server.search.current();
        honesty::require_complete(ties.iter().filter_map(|&param| registry.concern(param)))?;
        let (mut care_dates, mut all_dates) = (Vec::new(), Vec::new());
        for member in member_types(server, owner_type) {
            let dates = registry.parameters(member).filter(|p| p.family == Family::Date);
            for parameter in dates {
                let code = parameter.definition.code.as_str();
                if !NO_CARE.contains(&code) {
                    all_dates.push(parameter.id);
                    care_dates.extend((!RECORDED.contains(&code)).then_some(parameter.id));
                }
            }
        }
        Ok(Record {
            server,
            caller,
            owner_type,
            owner_type_id: type_id(owner_type)?,
            patient_type_id: type_id("Patient")?,
            wanted_ties: match request.types.is_empty() {
                true => ties.clone(),
                false => self::ties(server, owner_type, &request.types),
            },
            patient_ties: match owner_type {
                "Patient" => ties.clone(),
                _ => self::ties(server, "Patient", &[]),
            },
            ties,
            care_dates,
            all_dates,
            types: request
                .types
                .iter()
                .map(|name| type_id(name))
                .collect::<Result<_, _>>()?,
            since: request.since,
            care: request.care,
        })
    }

    /// Whose record it is.
    ///
    /// # Errors
    /// 404 and 410 when the owner is not there, 403 when the caller may read nothing of its type.
    pub async fn owner(&self, id: &str) -> Result<StoredResource, FhirError> {
        match self.server.read(self.caller, self.owner_type, id).await? {
            None => Err(FhirError::not_found(self.owner_type, id)),
            Some(owner) if owner.deleted => Err(FhirError::gone(self.owner_type, id)),
            Some(owner) => Ok(owner),
        }
    }

    /// Up to `room` resources of one record, after `from`.
    pub async fn of_one(
        &self,
        connection: &mut PgConnection,
        owner: StoredResource,
        from: Option<Place>,
        room: usize,
    ) -> Result<Vec<Item>, FhirError> {
        let mut found = Vec::new();
        self.collect(connection, owner, from, room, &mut found).await?;
        Ok(found)
    }

    /// Up to `room` resources of all records, newest owner first, after `from`.
    pub async fn of_all(
        &self,
        connection: &mut PgConnection,
        from: Option<Place>,
        room: usize,
    ) -> Result<Vec<Item>, FhirError> {
        let owners = judge::of_types(self.server, self.caller, Permissions::READ, Some(self.owner_type))?;
        let mut found = Vec::new();
        // The record in which the last page ended may go on, so its owner is the first.
        let mut highest = from.map_or(i64::MAX, |place| place.owner);
        while found.len() < room {
            let missing = limit(room - found.len());
            let owners = owners.newest(connection, highest, missing).await?;
            let Some(last) = owners.last() else { break };
            highest = last.rid - 1;
            for owner in owners {
                if found.len() < room {
                    let from = from.filter(|place| place.owner == owner.rid);
                    self.collect(connection, owner, from, room, &mut found).await?;
                }
            }
        }
        Ok(found)
    }

    /// Adds what follows `from` in the record of `owner`, until `found` holds `room` resources.
    async fn collect(
        &self,
        connection: &mut PgConnection,
        owner: StoredResource,
        from: Option<Place>,
        room: usize,
        found: &mut Vec<Item>,
    ) -> Result<(), FhirError> {
        let owner_rid = owner.rid;
        let (stage, below) = from.map_or((Stage::Owner, i64::MAX), |place| (place.stage, place.rid));
        let add = |found: &mut Vec<Item>, stage: Stage, resources: Vec<StoredResource>| {
            found.extend(resources.into_iter().map(|resource| Item {
                owner: owner_rid,
                stage,
                resource,
            }));
        };
        if from.is_none() && (self.types.is_empty() || self.types.contains(&self.owner_type_id)) {
            add(found, Stage::Owner, vec![owner]);
        }
        if stage <= Stage::Member && found.len() < room {
            let below = if stage == Stage::Member { below } else { i64::MAX };
            let members = self.members(connection, owner_rid, below, room - found.len()).await?;
            add(found, Stage::Member, members);
        }
        if found.len() < room {
            let below = if stage == Stage::Referenced { below } else { i64::MAX };
            let referenced = self
                .referenced(connection, owner_rid, below, room - found.len())
                .await?;
            add(found, Stage::Referenced, referenced);
        }
        Ok(())
    }

    /// Up to `room` members that the caller may read, newest first, below a rid.
    async fn members(
        &self,
        connection: &mut PgConnection,
        owner: i64,
        below: i64,
        room: usize,
    ) -> Result<Vec<StoredResource>, FhirError> {
        let mut found = Vec::new();
        let mut below = below;
        loop {
            let members = self.all_members(connection, owner, below, room).await?;
            let Some(last) = members.last() else { break };
            below = last.rid;
            found.extend(self.readable(connection, members).await?);
            if found.len() >= room {
                break;
            }
        }
        found.truncate(room);
        Ok(found)
    }

    async fn all_members(
        &self,
        connection: &mut PgConnection,
        owner: i64,
        below: i64,
        room: usize,
    ) -> Result<Vec<StoredResource>, FhirError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM ( \
                 SELECT DISTINCT m.rid FROM idx_reference m \
                 WHERE m.param = ANY ($1) AND m.target = $2 AND m.rid < $7 AND m.rid <> $2 AND {IN_CARE} \
                   AND ($8::timestamptz IS NULL \
                        OR EXISTS (SELECT FROM resource u WHERE u.rid = m.rid AND u.last_updated >= $8)) \
                 ORDER BY m.rid DESC LIMIT $9 \
             ) m JOIN resource r ON r.rid = m.rid WHERE NOT r.deleted ORDER BY r.rid DESC"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&self.wanted_ties)
            .bind(owner)
            .bind(self.care.map(|(low, _)| low))
            .bind(self.care.map(|(_, high)| high))
            .bind(&self.care_dates)
            .bind(&self.all_dates)
            .bind(below)
            .bind(self.since)
            .bind(limit(room))
            .fetch_all(connection)
            .await?;
        self.read(&rows)
    }

    /// Those of `resources` that the caller may read.
    async fn readable(
        &self,
        connection: &mut PgConnection,
        mut resources: Vec<StoredResource>,
    ) -> Result<Vec<StoredResource>, FhirError> {
        let named: Vec<_> = resources
            .iter()
            .map(|resource| (resource.rid, resource.resource_type))
            .collect();
        let judged = Judged::to(Permissions::READ);
        let readable = judge::allowed(self.server, self.caller, connection, judged, &named).await?;
        resources.retain(|resource| readable.contains(&resource.rid));
        Ok(resources)
    }

    /// Up to `room` of what is referred to that the caller may read, newest first, below a rid.
    async fn referenced(
        &self,
        connection: &mut PgConnection,
        owner: i64,
        below: i64,
        room: usize,
    ) -> Result<Vec<StoredResource>, FhirError> {
        let mut found = Vec::new();
        let mut below = below;
        loop {
            let referenced = self.all_referenced(connection, owner, below, room).await?;
            let Some(last) = referenced.last() else { break };
            below = last.rid;
            found.extend(self.readable(connection, referenced).await?);
            if found.len() >= room {
                break;
            }
        }
        found.truncate(room);
        Ok(found)
    }

    /// What the owner and the members within the care dates refer to, unless it is a member itself or belongs to the
    /// record of another patient.
    async fn all_referenced(
        &self,
        connection: &mut PgConnection,
        owner: i64,
        below: i64,
        room: usize,
    ) -> Result<Vec<StoredResource>, FhirError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM unnest($1::smallint[], $2::text[]) AS w (type, id) \
             JOIN resource r ON r.type = w.type AND r.id = w.id \
             WHERE NOT r.deleted AND r.rid < $3 AND r.rid <> $4 \
               AND (cardinality($5::smallint[]) = 0 OR r.type = ANY ($5)) \
               AND ($6::timestamptz IS NULL OR r.last_updated >= $6) \
               AND NOT EXISTS (SELECT FROM idx_reference x \
                               WHERE x.param = ANY ($7) AND x.rid = r.rid AND x.target = $4) \
               AND ($8::bigint[] IS NULL OR r.rid = ANY ($8) OR r.type <> $9 AND ( \
                    NOT EXISTS (SELECT FROM idx_reference x JOIN resource p ON p.rid = x.target AND p.type = $9 \
                                WHERE x.param = ANY ($10) AND x.rid = r.rid) \
                    OR EXISTS (SELECT FROM idx_reference x \
                               WHERE x.param = ANY ($10) AND x.rid = r.rid AND x.target = ANY ($8)))) \
             ORDER BY r.rid DESC LIMIT $11"
        );
        let (types, ids) = self.references(connection, owner).await?;
        let patients = self.patients(connection, owner).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(types)
            .bind(ids)
            .bind(below)
            .bind(owner)
            .bind(&self.types)
            .bind(self.since)
            .bind(&self.ties)
            .bind(patients)
            .bind(self.patient_type_id)
            .bind(&self.patient_ties)
            .bind(limit(room))
            .fetch_all(connection)
            .await?;
        self.read(&rows)
    }

    /// Types and ids of the resources of this server that the owner and the members name.
    async fn references(
        &self,
        connection: &mut PgConnection,
        owner: i64,
    ) -> Result<(Vec<i16>, Vec<String>), FhirError> {
        let members = self.readable_members(connection, owner).await?;
        let sql = format!(
            "SELECT DISTINCT link #>> '{{}}' FROM ( \
                 SELECT $2::bigint AS rid \
                 UNION SELECT m.rid FROM idx_reference m WHERE m.param = ANY ($1) AND m.target = $2 AND {IN_CARE} \
                       AND ($7::bigint[] IS NULL OR m.rid = ANY ($7)) \
             ) m JOIN resource r ON r.rid = m.rid CROSS JOIN LATERAL ( \
                 SELECT jsonb_path_query(r.content, 'strict $.**.reference') \
                 UNION ALL SELECT jsonb_path_query(r.content, 'strict $.**.url') \
             ) AS found (link) WHERE jsonb_typeof(link) = 'string'"
        );
        let links: Vec<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(&self.ties)
            .bind(owner)
            .bind(self.care.map(|(low, _)| low))
            .bind(self.care.map(|(_, high)| high))
            .bind(&self.care_dates)
            .bind(&self.all_dates)
            .bind(members)
            .fetch_all(connection)
            .await?;
        let registry = self.server.search.current();
        let locator = registry.locator();
        let types = self.server.store.types();
        let mut named: Vec<(i16, String)> = links
            .iter()
            .filter_map(|(link,)| locator.local(link))
            .filter_map(|(name, id)| Some((types.id(name)?, id.to_owned())))
            .collect();
        // One resource may be named in several ways: relative, absolute, with a version.
        named.sort_unstable();
        named.dedup();
        Ok(named.into_iter().unzip())
    }

    /// The members that the caller may read, by rid; `None` for a caller who may read all.
    async fn readable_members(&self, connection: &mut PgConnection, owner: i64) -> Result<Option<Vec<i64>>, FhirError> {
        const SQL: &str = "SELECT DISTINCT m.rid, m.type FROM idx_reference x JOIN resource m ON m.rid = x.rid \
             WHERE x.param = ANY ($1) AND x.target = $2 AND NOT m.deleted";
        if judge::may_do_everything(self.server, self.caller, Permissions::READ) {
            return Ok(None);
        }
        let rows: Vec<(i64, i16)> = sqlx::query_as(SQL)
            .bind(&self.ties)
            .bind(owner)
            .fetch_all(&mut *connection)
            .await?;
        let types = self.server.store.types();
        let members = rows
            .into_iter()
            .filter_map(|(rid, type_id)| Some((rid, types.name(type_id)?)));
        let members: Vec<_> = members.collect();
        let judged = Judged::to(Permissions::READ);
        let readable = judge::allowed(self.server, self.caller, connection, judged, &members).await?;
        Ok(Some(readable.into_iter().collect()))
    }

    /// The patients whose record this is a part of, by rid; `None` where a record has parts of many.
    async fn patients(&self, connection: &mut PgConnection, owner: i64) -> Result<Option<Vec<i64>>, FhirError> {
        const SQL: &str = "SELECT DISTINCT x.target FROM idx_reference x JOIN resource p ON p.rid = x.target AND p.type = $3 \
             WHERE x.param = ANY ($1) AND x.rid = $2";
        match self.owner_type {
            "Patient" => Ok(Some(vec![owner])),
            "Practitioner" => Ok(None),
            _ => {
                let rows: Vec<(i64,)> = sqlx::query_as(SQL)
                    .bind(&self.patient_ties)
                    .bind(owner)
                    .bind(self.patient_type_id)
                    .fetch_all(connection)
                    .await?;
                Ok(Some(rows.into_iter().map(|(rid,)| rid).collect()))
            }
        }
    }

    fn read(&self, rows: &[PgRow]) -> Result<Vec<StoredResource>, FhirError> {
        rows.iter().map(|row| self.server.store.resource_of(row)).collect()
    }
}

fn limit(room: usize) -> i64 {
    i64::try_from(room).unwrap_or(i64::MAX)
}

/// The types that can be members of the compartment, besides its owner.
fn member_types<'s>(server: &'s FhirServer, compartment: &str) -> impl Iterator<Item = &'s str> {
    let compartment = server.definitions.compartments.iter().find(|c| c.code == compartment);
    compartment
        .into_iter()
        .flat_map(|c| c.members.keys())
        .map(String::as_str)
}

/// The search parameters that tie resources of `types` (empty: of any type) to the compartment.
fn ties(server: &FhirServer, compartment: &str, types: &[String]) -> Vec<i16> {
    let compartment = server.definitions.compartments.iter().find(|c| c.code == compartment);
    let members = compartment.into_iter().flat_map(|c| &c.members);
    let registry = server.search.current();
    members
        .filter(|(name, _)| types.is_empty() || types.contains(name))
        .flat_map(|(name, codes)| codes.iter().filter_map(|code| registry.parameter(name, code)))
        .map(|parameter| parameter.id)
        .collect()
}
