"""Arguments that Terraform's providers document: none of them can be had from a package registry, so nothing is applied."""


def arguments(names, **blocks):
    """Names, with `!` behind those that are required; and blocks with theirs."""
    return dict.fromkeys(names.split()) | blocks


# hashicorp/aws: website/docs of its repository; invoke_mode and invoked_via_function_url (since 6.28) in its source. Read 2026-11.
AWS = {
    "aws_s3_bucket": arguments("bucket bucket_prefix force_destroy tags"),
    "aws_s3_bucket_public_access_block": arguments(
        "bucket! block_public_acls block_public_policy ignore_public_acls restrict_public_buckets"),
    "aws_s3_bucket_ownership_controls": arguments("bucket!", rule=arguments("object_ownership!")),
    "aws_s3_bucket_server_side_encryption_configuration": arguments(
        "bucket!",
        rule=arguments(
            "bucket_key_enabled",
            apply_server_side_encryption_by_default=arguments("sse_algorithm! kms_master_key_id"),
        ),
    ),
    "aws_s3_bucket_lifecycle_configuration": arguments(
        "bucket!",
        rule=arguments(
            "id! status!",
            filter=arguments("prefix"),
            expiration=arguments("days date expired_object_delete_marker"),
            abort_incomplete_multipart_upload=arguments("days_after_initiation"),
        ),
    ),
    "aws_cloudwatch_log_group": arguments("name name_prefix retention_in_days kms_key_id skip_destroy tags"),
    "aws_cloudwatch_event_rule": arguments("name name_prefix description schedule_expression event_pattern state role_arn tags"),
    "aws_cloudwatch_event_target": arguments("rule! arn! target_id input input_path role_arn event_bus_name"),
    "aws_iam_role": arguments("name name_prefix description assume_role_policy! path permissions_boundary tags"),
    "aws_iam_role_policy": arguments("name name_prefix role! policy!"),
    "aws_lambda_function": arguments(
        "function_name! role! description package_type image_uri filename source_code_hash s3_bucket s3_key handler runtime "
        "architectures memory_size timeout reserved_concurrent_executions publish layers kms_key_arn tags",
        ephemeral_storage=arguments("size!"),
        environment=arguments("variables"),
        image_config=arguments("command entry_point working_directory"),
    ),
    "aws_lambda_function_event_invoke_config": arguments(
        "function_name! maximum_event_age_in_seconds maximum_retry_attempts qualifier"),
    "aws_lambda_function_url": arguments("function_name! authorization_type! invoke_mode qualifier"),
    "aws_lambda_permission": arguments(
        "action! function_name! principal! statement_id source_arn source_account function_url_auth_type "
        "invoked_via_function_url qualifier principal_org_id"),
    "aws_cloudfront_origin_access_control": arguments(
        "name! description origin_access_control_origin_type! signing_behavior! signing_protocol!"),
    "aws_cloudfront_distribution": arguments(
        "comment enabled! http_version is_ipv6_enabled aliases price_class web_acl_id tags",
        origin=arguments(
            "origin_id! domain_name! origin_access_control_id connection_attempts connection_timeout",
            custom_origin_config=arguments(
                "http_port! https_port! origin_protocol_policy! origin_ssl_protocols! origin_read_timeout "
                "origin_keepalive_timeout"),
        ),
        default_cache_behavior=arguments(
            "target_origin_id! viewer_protocol_policy! allowed_methods! cached_methods! compress cache_policy_id "
            "origin_request_policy_id response_headers_policy_id"),
        custom_error_response=arguments("error_code! error_caching_min_ttl response_code response_page_path"),
        restrictions=arguments("", geo_restriction=arguments("restriction_type! locations")),
        viewer_certificate=arguments(
            "cloudfront_default_certificate acm_certificate_arn minimum_protocol_version ssl_support_method"),
    ),
}

# aliyun/alicloud: website/docs of its repository, read 2026-11. `name` and `document` of a role have newer names in newer
# versions, which know these as well.
HEALTH_CHECK = arguments(
    "http_get_url initial_delay_seconds period_seconds timeout_seconds failure_threshold success_threshold")
ALICLOUD = {
    "alicloud_oss_bucket": arguments(
        "bucket force_destroy storage_class redundancy_type tags",
        lifecycle_rule=arguments(
            "id prefix enabled!", expiration=arguments("date days"), abort_multipart_upload=arguments("created_before_date days")
        ),
    ),
    "alicloud_ram_role": arguments("name! document description force"),
    "alicloud_ram_policy": arguments("policy_name policy_document description rotate_strategy force tags"),
    "alicloud_ram_role_policy_attachment": arguments("role_name! policy_name! policy_type!"),
    "alicloud_fcv3_function": arguments(
        "function_name handler! runtime! description cpu memory_size disk_size timeout instance_concurrency internet_access role "
        "environment_variables layers tags",
        code=arguments("checksum oss_bucket_name oss_object_name zip_file"),
        custom_container_config=arguments("image port command entrypoint", health_check_config=HEALTH_CHECK),
        custom_runtime_config=arguments("command args port", health_check_config=HEALTH_CHECK),
    ),
    "alicloud_fcv3_trigger": arguments(
        "function_name! qualifier! trigger_type! trigger_name trigger_config description source_arn invocation_role"),
}

# tencentcloudstack/tencentcloud: website/docs of its repository, read 2026-11.
TENCENTCLOUD = {
    "tencentcloud_cos_bucket": arguments(
        "bucket! acl force_clean encryption_algorithm tags",
        lifecycle_rules=arguments(
            "id filter_prefix!",
            expiration=arguments("days date delete_marker"),
            abort_incomplete_multipart_upload=arguments("days_after_initiation!"),
        ),
    ),
    "tencentcloud_cam_role": arguments("name! document! description console_login tags"),
    "tencentcloud_cam_policy": arguments("name! document! description"),
    "tencentcloud_cam_role_policy_attachment": arguments("role_id! policy_id!"),
    "tencentcloud_scf_function": arguments(
        "name! description func_type runtime handler mem_size timeout enable_public_net role zip_file environment namespace tags "
        "vpc_id subnet_id",
        triggers=arguments("name! type! trigger_desc! cos_region"),
        image_config=arguments(
            "image_type! image_uri! registry_id entry_point command args container_image_accelerate image_port"),
    ),
}

# Of Terraform itself: developer.hashicorp.com/terraform/language.
TERRAFORM_DATA = {"terraform_data": arguments("input triggers_replace")}
META = {"depends_on", "count", "for_each", "provider", "lifecycle", "provisioner"}
# What a `dynamic` block has, which makes blocks of a list.
DYNAMIC = {"for_each", "iterator", "labels", "content"}


def faults(place, body, known):
    """What of a parsed body its provider does not document, and what it requires."""
    names = {name.rstrip("!"): blocks for name, blocks in known.items()}
    present, found = dict(blocks(body)), []
    for name in body:
        if not name.startswith("__") and name not in names and name not in META and name != "dynamic":
            found.append(f"{place}: there is no argument {name}")
    for dynamic in body.get("dynamic", []):
        for kind, inner in dynamic.items():
            found += [f"{place}.{plain(kind)}: there is no {name}" for name in inner if name[:2] != "__" and name not in DYNAMIC]
    for name, inner in present.items():
        if name not in names:
            found.append(f"{place}: there is no block {name}")
        elif isinstance(names[name], dict):
            found += [fault for one in inner for fault in faults(f"{place}.{name}", one, names[name])]
    found += [f"{place}: {name[:-1]} is not there" for name in known if name.endswith("!") and name[:-1] not in body]
    return found


def blocks(body):
    """The blocks of a body by their names, those of `dynamic` among them."""
    for name, value in body.items():
        if not name.startswith("__") and name not in META and isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            if name == "dynamic":
                for dynamic in value:
                    for kind, inner in dynamic.items():
                        yield plain(kind), inner.get("content", [])
            else:
                yield name, value


def plain(name):
    """Without the quotes that the parser keeps."""
    return name.strip('"')
