"""Write label files of WIDER FACE or RetinaFace as COCO json with landmarks."""

import argparse
import sys

from mmdet_ext.datasets.converters.wider_to_coco import wider_to_coco


def main() -> None:
    """Parse the arguments, convert, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('labels', help='e.g. wider_face_split/wider_face_val_bbx_gt.txt, or label.txt of RetinaFace')
    parser.add_argument('images', help='folder of EVENT/FILE.jpg, e.g. WIDER_val/images')
    parser.add_argument('-o', '--out', required=True, help='json file to write')
    args = parser.parse_args()
    coco = wider_to_coco(**vars(args))
    faces = coco['annotations']
    ignored, labelled = sum(face['iscrowd'] for face in faces), sum('keypoints' in face for face in faces)
    print(
        f'{args.out}: {len(coco["images"])} images, {len(faces)} faces ({labelled} with landmarks, {ignored} ignored)'
    )


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
