"""Build the pipeline with the SageMaker SDK and write what it says to definition.json.

The SDK does not share an environment with Airflow. Make one for it:

    python -m venv .venv-sdk
    .venv-sdk/bin/pip install 'sagemaker<3'
    .venv-sdk/bin/python dags/breast_cancer/build_definition.py --bucket <yours> --role <yours>

Building uploads the scripts to the bucket, so it needs credentials, or an endpoint to talk to instead of AWS. The
definition beside this file was built against the local endpoint of this project:

    python -m airflow_sagemaker_pipelines.local --port 5005 &
    AWS_ENDPOINT_URL=http://127.0.0.1:5005 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x \\
        .venv-sdk/bin/python dags/breast_cancer/build_definition.py
"""

import argparse
import io
import json
import tarfile
from pathlib import Path

import boto3
from sagemaker.inputs import TrainingInput
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.processing import ProcessingInput, ProcessingOutput
from sagemaker.sklearn import SKLearn, SKLearnModel, SKLearnProcessor
from sagemaker.transformer import Transformer
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterFloat, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import ProcessingStep, TrainingStep, TransformStep

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "scripts"
NAME = "breast-cancer"
FRAMEWORK = "1.2-1"
INSTANCE_TYPES = ["ml.m5.large", "ml.m5.xlarge", "ml.c5.xlarge"]


def build(session: PipelineSession, role: str) -> Pipeline:
    """preprocess -> train -> evaluate -> good enough? -> register, and score a batch; or fail."""
    root = f"s3://{session.default_bucket()}/{NAME}"
    input_data = ParameterString("InputDataUrl", default_value=f"{root}/data/")
    instance_type = ParameterString("InstanceType", default_value="ml.m5.large", enum_values=INSTANCE_TYPES)
    threshold = ParameterFloat("AccuracyThreshold", default_value=0.9)
    approval = ParameterString(
        "ModelApprovalStatus",
        default_value="PendingManualApproval",
        enum_values=["PendingManualApproval", "Approved", "Rejected"],
    )

    processor = SKLearnProcessor(
        framework_version=FRAMEWORK,
        instance_type=instance_type,
        instance_count=1,
        role=role,
        sagemaker_session=session,
    )
    preprocess = ProcessingStep(
        name="Preprocess",
        display_name="Split the data",
        step_args=processor.run(
            code=str(SCRIPTS / "preprocess.py"),
            arguments=["--holdout-fraction", "0.4", "--seed", "11"],
            inputs=[ProcessingInput(source=input_data, destination="/opt/ml/processing/input")],
            outputs=[
                ProcessingOutput(output_name=name, source=f"/opt/ml/processing/{name}")
                for name in ("train", "validation", "test", "batch")
            ],
        ),
    )

    def prepared(name: str):
        return preprocess.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri

    estimator = SKLearn(
        entry_point=str(SCRIPTS / "train.py"),
        framework_version=FRAMEWORK,
        instance_type=instance_type,
        role=role,
        hyperparameters={"inverse-regularization": 0.5, "max-iter": 500},
        metric_definitions=[
            {"Name": f"{channel}:{metric}", "Regex": f"{channel}:{metric}=([0-9.]+)"}
            for channel in ("train", "validation")
            for metric in ("accuracy", "auc")
        ],
        output_path=f"{root}/models",
        max_run=3600,
        sagemaker_session=session,
    )
    train = TrainingStep(
        name="Train",
        display_name="Fit the classifier",
        step_args=estimator.fit(
            {name: TrainingInput(prepared(name), content_type="text/csv") for name in ("train", "validation")}
        ),
    )

    evaluation = PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        name="Evaluate",
        display_name="Measure it on the test set",
        step_args=processor.run(
            code=str(SCRIPTS / "evaluate.py"),
            inputs=[
                ProcessingInput(
                    source=train.properties.ModelArtifacts.S3ModelArtifacts,
                    destination="/opt/ml/processing/model",
                ),
                ProcessingInput(source=prepared("test"), destination="/opt/ml/processing/test"),
            ],
            outputs=[ProcessingOutput(output_name="evaluation", source="/opt/ml/processing/evaluation")],
        ),
        property_files=[evaluation],
    )

    model = SKLearnModel(
        name=NAME,  # else the place of its code in S3 changes with every build
        model_data=train.properties.ModelArtifacts.S3ModelArtifacts,
        entry_point=str(SCRIPTS / "inference.py"),
        code_location=f"{root}/code",
        framework_version=FRAMEWORK,
        role=role,
        sagemaker_session=session,
    )
    evaluation_uri = evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri
    register = ModelStep(
        name="Register",
        step_args=model.register(
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=INSTANCE_TYPES,
            transform_instances=INSTANCE_TYPES,
            model_package_group_name=NAME,
            approval_status=approval,
            model_metrics=ModelMetrics(
                model_statistics=MetricsSource(
                    s3_uri=Join(on="/", values=[evaluation_uri, "evaluation.json"]),
                    content_type="application/json",
                )
            ),
        ),
    )
    create = ModelStep(name="Create", step_args=model.create(instance_type="ml.m5.large"))
    transformer = Transformer(
        model_name=create.properties.ModelName,
        instance_type=instance_type,
        instance_count=1,
        strategy="MultiRecord",
        accept="text/csv",
        assemble_with="Line",
        output_path=Join(on="/", values=[root, "scored", ExecutionVariables.PIPELINE_EXECUTION_ID]),
        sagemaker_session=session,
    )
    score = TransformStep(
        name="Score",
        display_name="Score the test set in a batch",
        step_args=transformer.transform(data=prepared("batch"), content_type="text/csv", split_type="Line"),
    )

    accuracy = JsonGet(
        step_name=evaluate.name,
        property_file=evaluation,
        json_path="binary_classification_metrics.accuracy.value",
    )
    reject = FailStep(
        name="Reject",
        error_message=Join(on=" ", values=["The model's accuracy is below the threshold of", threshold]),
    )
    decide = ConditionStep(
        name="GoodEnough",
        display_name="Accuracy above the threshold?",
        conditions=[ConditionGreaterThanOrEqualTo(left=accuracy, right=threshold)],
        if_steps=[register, create, score],
        else_steps=[reject],
    )
    return Pipeline(
        name=NAME,
        parameters=[input_data, instance_type, threshold, approval],
        steps=[preprocess, train, evaluate, decide],
        sagemaker_session=session,
    )


def uploads(bucket: str) -> dict[str, dict[str, object]]:
    """What the pipeline finds in S3 before its first step: the data, and the scripts that the SDK has uploaded.

    S3 URI -> the local file, the members of the archive, or the data set that it holds.
    """
    manifest: dict[str, dict[str, object]] = {
        f"s3://{bucket}/{NAME}/data/breast_cancer.csv": {"dataset": "breast_cancer"}
    }
    s3 = boto3.client("s3")
    for found in s3.list_objects_v2(Bucket=bucket, Prefix=f"{NAME}/code/").get("Contents", []):
        key = found["Key"]
        uri = f"s3://{bucket}/{key}"
        if key.endswith(".tar.gz"):
            body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                manifest[uri] = {"archive": sorted(f"scripts/{name}" for name in archive.getnames())}
        else:
            manifest[uri] = {"file": f"scripts/{Path(key).name}"}
    return manifest


def main() -> None:
    """Write definition.json and assets.json beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--bucket", default="sagemaker-us-east-1-123456789012")
    parser.add_argument("--role", default="arn:aws:iam::123456789012:role/SageMakerPipelineRole")
    args = parser.parse_args()

    boto3.setup_default_session(region_name=args.region)
    session = PipelineSession(boto_session=boto3.DEFAULT_SESSION, default_bucket=args.bucket)
    definition = json.loads(build(session, args.role).definition())
    for name, content in {"definition.json": definition, "assets.json": uploads(args.bucket)}.items():
        (HERE / name).write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
