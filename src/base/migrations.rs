//! The changes of the database's layout, in order, compiled into the program.
//!
//! They are listed by hand rather than by `sqlx::migrate!`: that macro would compile sqlx a second time, for the compiler's
//! use, and add a minute to a first build. A test compares the list with the folder.

use sqlx::PgConnection;
use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

/// Number, description and text of each file in `migrations/`.
const MIGRATIONS: [(i64, &str, &str); 20] = [
    (1, "core", include_str!("../../migrations/0001_core.sql")),
    (2, "jobs", include_str!("../../migrations/0002_jobs.sql")),
    (3, "search", include_str!("../../migrations/0003_search.sql")),
    (4, "search_rows", include_str!("../../migrations/0004_search_rows.sql")),
    (
        5,
        "search_registry",
        include_str!("../../migrations/0005_search_registry.sql"),
    ),
    (6, "terminology", include_str!("../../migrations/0006_terminology.sql")),
    (7, "intervals", include_str!("../../migrations/0007_intervals.sql")),
    (10, "accounts", include_str!("../../migrations/0010_accounts.sql")),
    (11, "oauth", include_str!("../../migrations/0011_oauth.sql")),
    (12, "access", include_str!("../../migrations/0012_access.sql")),
    (13, "audit", include_str!("../../migrations/0013_audit.sql")),
    (14, "launches", include_str!("../../migrations/0014_launches.sql")),
    (15, "factors", include_str!("../../migrations/0015_factors.sql")),
    (
        16,
        "request_counts",
        include_str!("../../migrations/0016_request_counts.sql"),
    ),
    (20, "scheduling", include_str!("../../migrations/0020_scheduling.sql")),
    (22, "objects", include_str!("../../migrations/0022_objects.sql")),
    (
        23,
        "prescriptions",
        include_str!("../../migrations/0023_prescriptions.sql"),
    ),
    (24, "mail", include_str!("../../migrations/0024_mail.sql")),
    (26, "gone", include_str!("../../migrations/0026_gone.sql")),
    (27, "own_apps", include_str!("../../migrations/0027_own_apps.sql")),
];

/// Brings the database up to this release. Several instances may try at once: one works, the others wait.
///
/// # Errors
/// When the database is not there, was changed by a newer release, or a migration that has run was edited since.
pub async fn run(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let migrations = MIGRATIONS.map(|(version, description, text)| {
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            text.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.into()).run(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort();
        let listed = MIGRATIONS.map(|(version, description, _)| format!("{version:04}_{description}.sql"));
        assert_eq!(files, listed);
    }
}
